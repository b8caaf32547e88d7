"""What evalscope reads of a folder of reports, and the table it prints of them."""

import json
import sys
from pathlib import Path

from evalscope.report import Report, gen_table

reports = {}
for path in sorted(Path(sys.argv[1]).glob("*/*.json")):
    report = Report.from_json(str(path))
    reports[f"{path.parent.name}/{path.stem}"] = {
        "dataset": report.dataset_name,
        "model": report.model_name,
        "score": report.score,
        "num": report.num,
        "requested": report.execution_summary.requested,
        "incomplete": report.execution_summary.incomplete,
    }
print(json.dumps({"reports": reports, "table": str(gen_table([sys.argv[1]]))}))
