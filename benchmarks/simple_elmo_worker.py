"""simple_elmo on TensorFlow, asked by `benchmarks.published` from another environment."""

import json
import os
import sys
import time

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

from simple_elmo import ElmoModel


def main() -> None:
    """Read texts from standard input; then embed them and print the seconds for every line."""
    folder, batch = sys.argv[1], int(sys.argv[2])
    texts = json.loads(sys.stdin.readline())
    model = ElmoModel()
    model.load(folder, max_batch_size=batch)
    print("answer ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        model.get_elmo_vectors(texts, warmup=False, layers="all")
        print(f"answer {time.perf_counter() - start}", flush=True)


main()
