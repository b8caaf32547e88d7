"""What lm-eval makes of a subject's results: its table, and the samples as `datasets` loads them."""

import json
import sys
from pathlib import Path

from datasets import load_dataset
from lm_eval.utils import (
    get_file_task_name,
    get_latest_filename,
    get_results_filenames,
    get_sample_results_filenames,
    make_table,
)

folder = Path(sys.argv[1])
files = [f"{folder}/{path.name}" for path in folder.iterdir()]
results = json.loads(Path(get_latest_filename(get_results_filenames(files))).read_text())
samples = {}
for file in get_sample_results_filenames(files):
    rows = load_dataset("json", data_files=file, split="train", cache_dir=sys.argv[2])
    samples[get_file_task_name(Path(file).name)] = [
        {
            "probe": row["doc"]["probe"],
            "prompt": row["doc"]["prompt"],
            "question": row["arguments"]["gen_args_0"]["arg_0"],
            "answers": row["resps"][0],
            "score": row["score"],
            "unscored": row["unscored"],
        }
        for row in rows
    ]
print(json.dumps({"table": make_table(results), "samples": samples}))
