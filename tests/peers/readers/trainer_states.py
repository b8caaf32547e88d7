"""What transformers reads of a checkpoint's trainer_state.json."""

import dataclasses
import json
import sys

from transformers.trainer_callback import TrainerState

state = TrainerState.load_from_json(sys.argv[1])
print(json.dumps(dataclasses.asdict(state), default=str))
