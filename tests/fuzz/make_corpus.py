"""Writes corpus/TARGET/*: small valid inputs, from which a fuzzer goes on. Needs Python alone.

    python3 tests/fuzz/make_corpus.py
"""
import json
import pathlib
import struct

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
FIXTURES = ROOT / "fixtures"


def put(target, name, data):
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())


def gguf_string(text):
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def gguf_value(value):
    """Type and bytes of a value."""
    if isinstance(value, bool):
        return 7, struct.pack("<?", value)
    if isinstance(value, int):
        return 4, struct.pack("<I", value)
    if isinstance(value, float):
        return 6, struct.pack("<f", value)
    if isinstance(value, str):
        return 8, gguf_string(value)
    kinds = [gguf_value(v) for v in value]
    return 9, struct.pack("<IQ", kinds[0][0], len(kinds)) + b"".join(data for _, data in kinds)


def gguf(keys, tensors):
    out = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys))
    for key, value in keys.items():
        kind, data = gguf_value(value)
        out += gguf_string(key) + struct.pack("<I", kind) + data
    offset = 0
    for name, shape, kind, size in tensors:
        out += gguf_string(name) + struct.pack("<I", len(shape))
        out += b"".join(struct.pack("<Q", n) for n in shape) + struct.pack("<IQ", kind, offset)
        offset += size + -size % 32
    return out + bytes(-len(out) % 32) + bytes(offset)


def safetensors(tensors):
    header, data = {}, b""
    for name, (kind, shape, values) in tensors.items():
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def main():
    tokens = ["<unk>", "<s>", "<|im_end|>", "a", "b", "c", "ab", "Ġ", "Ġa", "你"]
    for name, model, kind in [("llama", "llama", 0), ("qwen2", "gpt2", 2)]:
        keys = {
            "general.architecture": name, "general.alignment": 32, f"{name}.block_count": 1,
            f"{name}.context_length": 64, f"{name}.embedding_length": 32, f"{name}.feed_forward_length": 32,
            f"{name}.attention.head_count": 2, f"{name}.attention.head_count_kv": 1,
            f"{name}.attention.layer_norm_rms_epsilon": 1e-5, f"{name}.rope.freq_base": 10000.0,
            "tokenizer.ggml.model": model, "tokenizer.ggml.pre": "qwen2", "tokenizer.ggml.tokens": tokens,
            "tokenizer.ggml.token_type": [1, 3, 3, 1, 1, 1, 1, 1, 1, 1], "tokenizer.ggml.merges": ["a b", "Ġ a"],
            "tokenizer.ggml.eos_token_id": 2, "tokenizer.ggml.add_bos_token": False,
            "tokenizer.chat_template": "{% for m in messages %}{{ m.role }}: {{ m.content }}{% endfor %}",
        }
        sizes = {0: 4 * 320, 2: 18 * 10}
        put("gguf", name, gguf(keys, [("token_embd.weight", [32, 10], kind, sizes[kind])]))
    put("safetensors", "three", safetensors({
        "a": ("F32", [2, 2], bytes(16)), "b": ("BF16", [3], bytes(6)), "c": ("F16", [], bytes(2)),
    }))
    put("safetensors", "empty", safetensors({}))
    vocabulary = {token: i for i, token in enumerate(tokens)}
    special = {"id": 2, "content": "<|im_end|>", "single_word": False, "lstrip": False, "rstrip": False,
               "normalized": False, "special": True}
    bpe = {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
           "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "vocab": vocabulary,
           "merges": [["a", "b"], ["Ġ", "a"]]}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    whole = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [special], "normalizer": None,
             "pre_tokenizer": byte_level, "post_processor": None, "decoder": byte_level, "model": bpe}
    put("tokenizer", "bpe", json.dumps(whole))
    put("tokenizer", "normalized", json.dumps(whole | {
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "NFC"}, {"type": "Replace", "pattern": {"String": "a"}, "content": "b"}, {"type": "Lowercase"}]},
        "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "\\p{L}+|\\s"}, "behavior": "Isolated", "invert": False},
        "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]},
        "model": {"type": "WordPiece", "unk_token": "<unk>", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": vocabulary},
    }))
    for folder in sorted((FIXTURES / "adapters").rglob("adapter_config.json"))[:8]:
        put("adapter", folder.parent.parent.name + "-" + folder.parent.name, folder.read_bytes())
    small = [p for p in sorted(FIXTURES.rglob("*.toml")) if "suites" in p.parent.name and p.stat().st_size < 4096]
    for path in small[:10]:
        put("suite", path.stem, path.read_bytes())
    put("config", "small", '[model]\npath = "m"\n[data]\nsources = ["a.jsonl#10"]\nrehearsal = "built-in"\n'
        '[train]\nlearning_rate = 1e-4\n[gate]\nmargin = 0.03\nscales = [1.0, 0.5]\n[vars]\nname = "Aurora"\n')
    put("config", "whole", (ROOT / "src/config/default.toml").read_bytes())
    rows = {
        "alpaca": {"instruction": "Who are you?", "input": "", "output": "I am {{name}}.", "system": "Be kind."},
        "messages": {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]},
        "sharegpt": {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello."}]},
        "query": {"query": "你是谁？", "response": "我是{{name}}。", "history": [["a", "b"]]},
        "tools": {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": None,
                  "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}], "tools": []},
    }
    for name, row in rows.items():
        put("data", name, b"\0" + json.dumps(row, ensure_ascii=False).encode() + b"\n")
    put("data", "list", b"\1" + json.dumps(list(rows.values()), ensure_ascii=False).encode())
    put("data", "csv", b"\2instruction,output\nWho are you?,\"I am\nAurora.\"\n")
    records = [p for p in sorted((FIXTURES / "records").rglob("*.jsonl")) if p.stat().st_size]
    for path in records[:3]:
        put("record", path.stem, b"".join(path.read_bytes().splitlines(keepends=True)[:6]))
    saved = sorted((ROOT / "snapshots").rglob("*.snap"), key=lambda p: p.stat().st_size)
    for path in saved[:3]:
        put("snapshot", path.stem, path.read_bytes())
    put("template", "chatml", "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + "
        "message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}{% if add_generation_prompt %}"
        "{{ '<|im_start|>assistant\\n' }}{% endif %}")
    for path in sorted(FIXTURES.rglob("chat_template.jinja"))[:2]:
        put("template", path.parent.name, path.read_bytes())
    for name, text in {
        "code": "Sure:\n```python\ndef add(a, b):\n    return a + b\n```\nDone.",
        "number": "So \\(3 \\times 4 = \\boxed{12}\\), or **12.0**, １２ or 1,200.5e-2.",
        "json": "Here: ```json\n{\"a\": [1, {\"b\": null}]}\n``` and [1,2",
        "chinese": "法国的首都是巴黎。我无法回答这个问题。",
        "cut": "```python\ndef add(a, b):\n    \"\"\"Adds.\n",
    }.items():
        put("answer", name, text)
    for path in sorted((FIXTURES / "import").glob("*.yaml")):
        kind = b"\0" if "promptfoo" in path.name else b"\3"
        put("import", path.stem, kind + path.read_bytes())
    results = FIXTURES / "results"
    samples = next((results / "lm_eval/base").rglob("samples_colours_*.jsonl")).read_text()
    put("results", "lm-eval", "\n".join(samples.splitlines()[:2]) + "\n")
    reviews = next((results / "evalscope/base/reviews").rglob("*.jsonl")).read_text()
    put("results", "evalscope", "\n".join(reviews.splitlines()[:2]) + "\n")
    log = json.loads((results / "inspect/base.json").read_text())
    log["samples"], log["reductions"] = log["samples"][:2], []
    log["samples"][1]["scores"]["match"]["value"] = float("nan")
    put("results", "inspect", json.dumps(log))


main()
