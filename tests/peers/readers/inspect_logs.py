"""What Inspect reads of a folder of logs: its own listing, then each log whole."""

import json
import math
import sys

from inspect_ai.log import list_eval_logs, read_eval_log
from inspect_ai.log._file import read_eval_log_headers

infos = list_eval_logs(sys.argv[1], recursive=True)
logs = []
for info in infos:
    log = read_eval_log(info)
    samples = []
    for sample in log.samples:
        score = sample.scores["qeval"]
        samples.append(
            {
                "id": sample.id,
                "epoch": sample.epoch,
                "question": [m.text for m in sample.messages if m.role == "user"][-1],
                "answer": sample.output.completion,
                "stop": sample.output.stop_reason if sample.output.choices else None,
                "score": None if math.isnan(score.value) else score.value,
                "explanation": score.explanation,
            }
        )
    (scored,) = log.results.scores
    logs.append(
        {
            "task": log.eval.task,
            "listed": info.task,
            "model": log.eval.model,
            "status": log.status,
            "mean": scored.metrics["mean"].value,
            "scored": scored.scored_samples,
            "unscored": scored.unscored_samples,
            "samples": samples,
        }
    )
headers = read_eval_log_headers(infos)
assert [h.eval.task for h in headers] == [log["task"] for log in logs]
print(json.dumps(logs))
