"""vLLM over a workload file. It runs in vLLM's own environment and knows nothing of rsft."""

import json
import os
import resource
import sys
import time

os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "4")
os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", f"0-{(os.cpu_count() or 1) - 1}")  # else it leaves one idle
os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")  # so that its memory can be read here
os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")


def main(path: str) -> None:
    from vllm import LLM, SamplingParams

    with open(path, encoding="utf-8") as file:
        work = json.load(file)
    longest = max(map(len, work["prompts"]))
    llm = LLM(
        model=work["model"],
        dtype=work["dtype"],
        max_model_len=longest + work["max_tokens"] + 1,
        max_num_seqs=256,
        max_num_batched_tokens=max(2048, longest),
        enable_prefix_caching=True,
        disable_log_stats=True,
        generation_config="vllm",
    )
    params = SamplingParams(
        n=work["candidates"],
        temperature=work["temperature"],
        top_p=work["top_p"],
        max_tokens=work["max_tokens"],
        stop_token_ids=work["stops"],
        detokenize=False,
    )
    prompts = [{"prompt_token_ids": prompt} for prompt in work["prompts"]]
    llm.generate(prompts[:2], params, use_tqdm=False)
    llm.reset_prefix_cache()
    began = time.perf_counter()
    outputs = llm.generate(prompts, params, use_tqdm=False)
    seconds = time.perf_counter() - began
    tokens = sum(len(reply.token_ids) for output in outputs for reply in output.outputs)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"tokens": tokens, "seconds": seconds, "peak_gib": round(most / 2**20, 2)}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
