"""What TensorBoard shows of a folder of runs: by run and tag, the steps and values."""

import json
import sys

from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer

runs = EventMultiplexer(size_guidance={"scalars": 0}, purge_orphaned_data=True)
runs.AddRunsFromDirectory(sys.argv[1])
runs.Reload()
shown = {}
for run, kinds in runs.Runs().items():
    shown[run] = {}
    for tag in kinds["scalars"]:
        events = runs.Scalars(run, tag)
        shown[run][tag] = [[event.step, event.value] for event in events]
print(json.dumps(shown))
