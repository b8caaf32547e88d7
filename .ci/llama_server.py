"""llama-server's own code out of the package xllamacpp, under the options of llama-server that the tests use.

usage: llama_server.py --model FILE.gguf --host ADDRESS --port PORT [--parallel N] [--ctx-size N] [--threads N] [--lora FILE,FILE]
needs: pip install xllamacpp, which has it built for any x86-64 and so computes four times slower than one built here
"""
import argparse
import threading

import xllamacpp

a = argparse.ArgumentParser()
a.add_argument("--model", required=True)
a.add_argument("--host", required=True)
a.add_argument("--port", type=int, required=True)
a.add_argument("--parallel", type=int, default=4)
a.add_argument("--ctx-size", type=int, default=8192)
a.add_argument("--threads", type=int, default=2)
a.add_argument("--lora", default="")
o = a.parse_args()


def adapter(path):
    info = xllamacpp.CommonAdapterLoraInfo()
    info.path, info.scale = path, 1.0
    return info


params = xllamacpp.CommonParams()
params.model.path = o.model
params.hostnames = [o.host]
params.port = o.port
params.n_parallel = o.parallel
params.n_ctx = o.ctx_size
params.cpuparams.n_threads = o.threads
params.lora_adapters = [adapter(path) for path in o.lora.split(",") if path]
# Listens first, and answers 503 until the model is there.
server = xllamacpp.Server(params)
threading.Event().wait()
