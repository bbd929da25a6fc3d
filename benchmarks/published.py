"""Vectors of published ELMo models: tokens per second in bulk, latency, and memory."""

from __future__ import annotations

import json
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks import harness

if TYPE_CHECKING:
    from elmo.models.encoders import ElmoEncoder
    from elmo.models.published_options import Options

DESCRIPTION = """\
Embeds the first train rows with models of the released shapes and random weights, from words to a
tensor (L, T, D) for every text, in several ways that take turns, each in its own process:

  elmo             `encoder.embed_by_length`, as `elmo embed` does before it writes
  one by one       the same encoder, one text at a time (a sixteenth of the texts)
  textbook         a loop over the time steps of each layer with the cell written in PyTorch, token
                   vectors for every position, batches in the order of the file (a quarter)
  simple_elmo      `get_elmo_vectors` of simple_elmo on TensorFlow (a quarter), with --simple-elmo
                   PYTHON, an interpreter in whose environment it is installed:
                   pip install simple_elmo tensorflow tf-keras

Rates count the matrix products that the model needs: one token vector for each distinct word, the
windows of each filter that are not padding alone, and the LSTMs of every token. Tokens
include <s> and </s>. `--memory` embeds 1,000 and 100,000 texts with a small model instead, and
compares the peaks of memory."""

SHAPES = {  # lstm.dim, lstm.projection_dim, n_highway
    "small": (1024, 128, 1),
    "original": (4096, 512, 2),
}
FILTERS = [[1, 32], [2, 32], [3, 64], [4, 128], [5, 256], [6, 512], [7, 1024]]
BATCH = 32  # texts, of the textbook and of simple_elmo


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = harness.arguments("published", DESCRIPTION)
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES), choices=SHAPES)
    parser.add_argument("--texts", type=int, default=512, metavar="N", help="texts per turn")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="turns of each peer")
    parser.add_argument("--simple-elmo", metavar="PYTHON", help="interpreter with simple_elmo")
    parser.add_argument("--memory", action="store_true", help="measure memory alone")
    args = parser.parse_args(arguments)
    if args.memory:
        memory: list[harness.Row] = [memory_of(count) for count in (1_000, 100_000)]
        harness.report("published", args.output, {}, {"memory, a narrow model": memory})
        return
    rows: list[harness.Row] = []
    for shape in args.shapes:
        with tempfile.TemporaryDirectory() as folder:
            write_model(shape, Path(folder) / "model")
            rows += compare(shape, Path(folder) / "model", args)
    facts = {"texts": args.texts, "rounds": args.rounds, "weights": "random"}
    harness.report("published", args.output, facts, {"published": rows})


def compare(shape: str, folder: Path, args: Any) -> list[harness.Row]:
    """Return a row for each peer."""
    peers: dict[str, tuple[harness.Peer, tuple]] = {
        "elmo": (elmo_bulk, (folder, args.texts)),
        "one by one": (one_by_one, (folder, -(-args.texts // 16))),
        "textbook": (textbook, (folder, -(-args.texts // 4))),
    }
    if args.simple_elmo:
        peers["simple_elmo"] = (simple_elmo, (folder, -(-args.texts // 4), args.simple_elmo))
    results = harness.in_turn(peers, args.rounds)
    speeds = {name: median(turn["tokens/s"] for turn in turns) for name, turns in results.items()}
    rows: list[harness.Row] = []
    for name, turns in results.items():
        row = {
            "shape": shape,
            "peer": name,
            "tokens/s": speeds[name],
            "elmo is faster by": speeds["elmo"] / speeds[name],
            "ms a text": 1000 * median(turn["seconds"] / turn["texts"] for turn in turns),
        }
        if "share" in turns[0]:
            row["limit GFLOP/s"] = median(turn["limit FLOP/s"] for turn in turns) / 1e9
            row["share of the limit"] = median(turn["share"] for turn in turns)
        rows.append(row)
    return rows


def options_of(shape: str) -> dict[str, Any]:
    """Return the `options.json` of a shape."""
    dim, projection_dim, highways = SHAPES[shape]
    return {
        "lstm": {
            "dim": dim,
            "projection_dim": projection_dim,
            "n_layers": 2,
            "cell_clip": 3,
            "proj_clip": 3,
            "use_skip_connections": True,
        },
        "char_cnn": {
            "embedding": {"dim": 16},
            "filters": FILTERS,
            "n_highway": highways,
            "activation": "relu",
            "n_characters": 262,
            "max_characters_per_token": 50,
        },
    }


def write_model(shape: str, folder: Path) -> None:
    """Write a model with random weights in the published format."""
    import torch

    from elmo.data.text import WordTokenizer
    from elmo.models.encoders import ElmoEncoder
    from elmo.models.published_options import parse_options
    from elmo.models.published_writer import write_published

    torch.manual_seed(0)
    options = parse_options(options_of(shape))
    tokenizer = WordTokenizer.of_words([], max_characters=50)
    write_published(ElmoEncoder(tokenizer, options.bilm(len(tokenizer))), folder)


def documents(count: int) -> list[list[str]]:
    """Return the words of the first train rows."""
    from benchmarks.models import make
    from elmo.data.text import WordTokenizer, clean

    corpus = make(harness.settings("train_lm").data)
    texts = [clean(row.text) for row in islice(corpus.read("train"), count)]
    return [document.words for document in WordTokenizer.of_words([]).encode(texts)]


def flops_of(options: Options, texts: Sequence[list[str]]) -> float:
    """Count multiplications and additions in the matrix products that the texts need."""
    import torch

    from elmo.data.characters import Lexicon

    assert options.characters is not None
    c, h, f = options.dim, options.projection_dim, options.num_filters
    lexicon = Lexicon(options.characters["max_characters"])
    tokens = sum(len(lexicon.spell(words)) for words in texts)
    cell = 2 * (2 * h * 4 * c + (c * h if options.projected else 0))
    total = float(2 * options.num_layers * cell * tokens)
    lengths = (torch.from_numpy(lexicon.characters()[1:]) != PADDING).sum(1)
    for width, count in options.characters["filters"]:
        # Those that begin in a word, and one of padding where there is room.
        windows = int((lengths + 1).clamp(max=lexicon.max_characters - width + 1).sum())
        total += 2 * width * options.characters["char_dim"] * count * windows
    dense = options.characters["num_highways"] * 2 * f * f + f * h
    return total + 2 * dense * len(lengths)


PADDING = 261  # as in `elmo.modules.characters`


def measure(
    turn: harness.Turn, work: Callable[[], int], texts: int, flops: float | None = None
) -> None:
    """Time `work`, which returns the number of tokens, in every turn."""
    turn(None)
    while True:
        rate = harness.limit() if flops else 0.0
        start = time.perf_counter()
        tokens = work()
        seconds = time.perf_counter() - start
        result: dict[str, float] = {
            "seconds": seconds,
            "texts": texts,
            "tokens/s": tokens / seconds,
        }
        if flops:
            result |= {"limit FLOP/s": rate, "share": flops / seconds / rate}
        turn(result)


def loaded(folder: Path) -> ElmoEncoder:
    """Return the model, with freed memory kept, as the command does."""
    from elmo.models.loading import load_bilm
    from elmo.utils.memory import keep_freed_memory

    keep_freed_memory()
    return load_bilm(folder)


def elmo_bulk(turn: harness.Turn, folder: Path, count: int) -> None:
    """Embed in batches by length."""
    from elmo.models.published_options import parse_options

    encoder, texts = loaded(folder), documents(count)
    options = parse_options(json.loads((folder / "options.json").read_text()))
    flops = flops_of(options, texts)

    def embed() -> int:
        return sum(len(one.tokens) + 2 for _, one in encoder.embed_by_length(texts))

    measure(turn, embed, count, flops)


def one_by_one(turn: harness.Turn, folder: Path, count: int) -> None:
    """Embed each text in its own call."""
    encoder, texts = loaded(folder), documents(count)
    measure(turn, lambda: sum(len(encoder.embed([text])[0].tokens) + 2 for text in texts), count)


def textbook(turn: harness.Turn, folder: Path, count: int) -> None:
    """Embed with a plain loop over the time steps, as a tutorial would write it."""
    import torch

    from elmo.data.batches import text_batches

    encoder, texts = loaded(folder), documents(count)
    bilm, tokenizer = encoder.bilm, encoder.tokenizer

    @torch.no_grad()
    def embed() -> int:
        tokens = 0
        for start in range(0, count, BATCH):
            ((_, batch),) = text_batches(texts[start : start + BATCH], tokenizer, None)
            assert batch.spellings is not None
            characters, places, _ = batch.spellings
            each = characters[places.flatten()]  # a vector for every position
            vectors = bilm.embedding.word_vectors(each).view(*places.shape, -1)  # type: ignore[operator]
            for stack in (bilm.forward_lstm, bilm.backward_lstm):
                below = vectors if stack is bilm.forward_lstm else vectors.flip(1)
                for number, layer in enumerate(stack.layers):
                    states = textbook_layer(layer, below)
                    below = states + below if number else states
            tokens += int(batch.lengths.sum())
        return tokens

    measure(turn, embed, count)


def textbook_layer(layer: Any, inputs: Any) -> Any:
    """Return the outputs (B, T, H) of a clipped, projected LSTM for inputs (B, T, H)."""
    import torch

    h = inputs.new_zeros(len(inputs), layer.dim)
    c = inputs.new_zeros(len(inputs), layer.cell_dim)
    outputs = []
    for step in range(inputs.shape[1]):
        z = inputs[:, step] @ layer.weight_ih_l0.T + h @ layer.weight_hh_l0.T + layer.bias
        i, f, g, o = z.chunk(4, 1)
        c = torch.sigmoid(f + 1) * c + torch.sigmoid(i) * torch.tanh(g)
        c = c.clamp(-layer.clips.cell, layer.clips.cell)
        h = (torch.sigmoid(o) * torch.tanh(c)) @ layer.weight_hr_l0.T
        h = h.clamp(-layer.clips.projection, layer.clips.projection)
        outputs.append(h)
    return torch.stack(outputs, 1)


def simple_elmo(turn: harness.Turn, folder: Path, count: int, python: str) -> None:
    """Embed with simple_elmo, in an environment of its own."""
    texts = documents(count)
    worker = Path(__file__).with_name("simple_elmo_worker.py")
    with subprocess.Popen(
        [python, str(worker), str(folder), str(BATCH)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None
        assert stdout is not None

        def answer() -> str:
            for line in stdout:
                if line.startswith("answer "):
                    return line.removeprefix("answer ")
            raise SystemExit("simple_elmo ended early; see its message above")

        stdin.write(json.dumps(texts) + "\n")
        stdin.flush()
        answer()
        tokens = sum(len(text) + 2 for text in texts)
        turn(None)
        while True:
            stdin.write("go\n")
            stdin.flush()
            seconds = float(answer())
            turn({"seconds": seconds, "texts": count, "tokens/s": tokens / seconds})


def memory_of(count: int) -> harness.Row:
    """Return the peak memory of embedding a number of texts, in a process of its own."""
    turns = harness.in_turn({"memory": (embed_many, (count,))}, rounds=1, warmup=0)["memory"]
    return {"texts": count, **turns[0]}


def embed_many(turn: harness.Turn, count: int) -> None:
    """Embed texts of the corpus, over and over, with a model of the shape of `small`, narrower."""
    from elmo.commands.embed import main as embed

    turn(None)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_narrow(folder / "model")
        texts = [" ".join(words) for words in documents(1_000)]
        with (folder / "texts.txt").open("w") as file:
            file.writelines(f"{texts[number % len(texts)]}\n" for number in range(count))
        arguments = ["--file", str(folder / "texts.txt"), "-o", str(folder / "out.h5"), "--pool"]
        start = time.perf_counter()
        embed([*arguments, "--model", str(folder / "model"), "--layer", "1"])
        seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    turn({"seconds": seconds, "peak MiB": peak})


def write_narrow(folder: Path) -> None:
    """Write a model like `small` that is narrow enough for many texts."""
    SHAPES["narrow"] = (64, 32, 1)
    write_model("narrow", folder)


if __name__ == "__main__":
    main()
