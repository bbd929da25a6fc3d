"""Embedding speed: tokens per second in bulk, and the share of the fastest matrix product."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice, product
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks import harness
from benchmarks.place import Place

if TYPE_CHECKING:
    from torch import Tensor

    from elmo.models.encoders import ElmoEncoder, Embedding
    from elmo.modules.bilm import BiLM

DESCRIPTION = """\
Embeds the first train rows with an untrained biLM of the real vocabulary, from raw text to a
tensor (L, T, D) for every text, in several ways that take turns, each in its own process:

  elmo embed       what the command `elmo embed` does before it writes: batches by length
  from Python      `encoder.embed(texts)`: the same, but all vectors are held at once, and freed
                   memory is not kept by the process
  one by one       the same encoder, one text at a time (an eighth of the texts)
  packed           batches of 32 texts in the order of the file, packed sequences in the LSTMs
                   (a quarter of the texts)

Tokens do not include padding; they include <s> and </s>, which the biLM has to read."""

PACKED_BATCH = 32
CPU = Place()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = harness.arguments("embedding", DESCRIPTION)
    parser.add_argument("--widths", type=int, nargs="+", default=[256, 512], metavar="H")
    harness.add_precisions(parser)
    parser.add_argument("--texts", type=int, default=1024, metavar="N", help="texts per turn")
    parser.add_argument("--rounds", type=int, default=4, metavar="N", help="turns of each peer")
    args = parser.parse_args(arguments)
    speeds: list[harness.Row] = []
    parts: list[harness.Row] = []
    for width, precision in product(args.widths, args.precisions):
        place = Place("cpu", precision)
        peers: dict[str, tuple[harness.Peer, tuple]] = {
            "elmo embed": (elmo_embed, (width, args.texts, place)),
            "from Python": (from_python, (width, args.texts, place)),
            "one by one": (one_by_one, (width, -(-args.texts // 8), place)),
            "packed": (packed, (width, -(-args.texts // 4), place)),
        }
        results = harness.in_turn(peers, args.rounds)
        speed = {
            name: median(turn["tokens/s"] for turn in turns) for name, turns in results.items()
        }
        for name, turns in results.items():
            speeds.append(
                {
                    "width": width,
                    "precision": precision,
                    "peer": name,
                    "tokens/s": speed[name],
                    "times one by one": speed[name] / speed["one by one"],
                    "times packed": speed[name] / speed["packed"],
                    "limit GFLOP/s": median(turn["limit FLOP/s"] for turn in turns) / 1e9,
                    "share of the limit": median(turn["share"] for turn in turns),
                }
            )
        turns = results["elmo embed"]
        names = turns[0]["parts"]
        parts.append(
            {"width": width, "precision": precision}
            | {name: median(turn["parts"][name] for turn in turns) for name in names}
        )
    tables = {"embedding": speeds, "share of the time of elmo embed, by part": parts}
    facts = {"data": data_facts(args.texts), "rounds": args.rounds}
    harness.report("embedding", args.output, facts, tables)


def data_facts(texts: int) -> dict[str, Any]:
    """Return the corpus, the number of texts and V."""
    from benchmarks.models import make

    corpus = make(harness.settings("train_lm").data)
    return {"name": corpus.name, "texts": texts, "vocabulary_size": len(corpus.tokenizer)}


def encoder_and_texts(width: int, count: int) -> tuple[ElmoEncoder, list[str]]:
    """Return an untrained encoder with H = E = `width`, and raw descriptions."""
    import torch

    from benchmarks.models import make
    from elmo.models.encoders import ElmoEncoder
    from elmo.modules.bilm import BiLM

    corpus = make(harness.settings("train_lm").data)
    torch.manual_seed(0)
    bilm = BiLM(len(corpus.tokenizer), embedding_dim=width, hidden_dim=width)
    texts = [row.text for row in islice(corpus.read("train"), count)]
    return ElmoEncoder(corpus.tokenizer, bilm), texts


def forward_flops(bilm: BiLM, tokens: int) -> float:
    """Count multiplications and additions in the biLM's matrix products, for real tokens only.

    Per token, 2 directions x num_layers x 8 H (H + H) for the LSTMs, and 2 E H for the projection
    if E differs from H. Lookups, gates and copies are not counted.
    """
    width = bilm.hidden_dim
    flops = 2 * bilm.num_layers * 8 * width * (width + width) * tokens
    if bilm.embedding_dim != width:
        flops += 2 * bilm.embedding_dim * width * tokens
    return float(flops)


def elmo_embed(turn: harness.Turn, width: int, count: int, place: Place = CPU) -> None:
    """Embed as the command `elmo embed` does, and time the parts of it."""
    from elmo.data.batches import TOKEN_BUDGET, text_batches
    from elmo.utils.memory import keep_freed_memory

    keep_freed_memory()
    encoder, texts = encoder_and_texts(width, count)
    bilm = encoder.bilm
    watch = Stopwatch()
    bilm.both_directions = watch.timed("lookup and LSTMs", bilm.both_directions)  # type: ignore[method-assign]
    bilm.forward = watch.timed("biLM", bilm.forward)  # type: ignore[method-assign]
    prepare = watch.timed(
        "cleaning, tokenising, batching",
        lambda: list(text_batches(texts, encoder.tokenizer, TOKEN_BUDGET)),
    )

    def embed() -> int:
        watch.seconds.clear()
        return sum(tokens_of(embedding) for _, embedding in encoder.embed_by_length(texts))

    def parts(seconds: float) -> dict[str, float]:
        prepare()
        times = dict(watch.seconds)
        times["one tensor of all layers"] = times.pop("biLM") - times["lookup and LSTMs"]
        times["one tensor per text"] = seconds - sum(times.values())
        return {name: part / seconds for name, part in times.items()}

    measure(turn, bilm, embed, parts, place)


class Stopwatch:
    """The seconds that functions take, added up by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function with its time added to `seconds[name]` in each call."""

        def call(*args: Any) -> Any:
            start = time.perf_counter()
            result = function(*args)
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
            return result

        return call


def from_python(turn: harness.Turn, width: int, count: int, place: Place = CPU) -> None:
    """Embed all texts in a single call of `encoder.embed`."""
    encoder, texts = encoder_and_texts(width, count)
    measure(turn, encoder.bilm, lambda: sum(map(tokens_of, encoder.embed(texts))), place=place)


def one_by_one(turn: harness.Turn, width: int, count: int, place: Place = CPU) -> None:
    """Embed each text in its own call."""
    from elmo.utils.memory import keep_freed_memory

    keep_freed_memory()
    encoder, texts = encoder_and_texts(width, count)
    measure(
        turn,
        encoder.bilm,
        lambda: sum(tokens_of(encoder.embed([text])[0]) for text in texts),
        place=place,
    )


def packed(turn: harness.Turn, width: int, count: int, place: Place = CPU) -> None:
    """Embed in batches of packed sequences."""
    from benchmarks.models import pack
    from elmo.utils.memory import keep_freed_memory

    keep_freed_memory()
    encoder, texts = encoder_and_texts(width, count)
    set_lengths = pack(encoder.bilm)
    measure(
        turn,
        encoder.bilm,
        lambda: sum(map(tokens_of, embed_packed(encoder, texts, set_lengths))),
        place=place,
    )


def embed_packed(
    encoder: ElmoEncoder, texts: Sequence[str], set_lengths: Callable[[Tensor], None]
) -> Iterator[Embedding]:
    """Yield what `encoder.embed` returns, with stacks that `benchmarks.models.pack` changed."""
    import torch

    from elmo.data.batches import Batch, pad
    from elmo.data.text import clean
    from elmo.models.encoders import Embedding

    for start in range(0, len(texts), PACKED_BATCH):
        chosen = texts[start : start + PACKED_BATCH]
        documents = encoder.tokenizer.encode([clean(text) for text in chosen])
        tokens, lengths = pad([document.ids for document in documents])
        set_lengths(lengths)
        layers = encoder(
            Batch(tokens, lengths, torch.zeros_like(lengths), torch.arange(len(chosen)))
        )
        for index, document in enumerate(documents):
            words = document.words
            yield Embedding(words, layers[:, index, 1 : len(words) + 1].clone())


def tokens_of(embedding: Embedding) -> int:
    """Count the tokens that the biLM read, `<s>` and `</s>` included."""
    return len(embedding.tokens) + 2


def measure(
    turn: harness.Turn,
    bilm: BiLM,
    embed: Callable[[], int],
    parts: Callable[[float], dict[str, float]] | None = None,
    place: Place = CPU,
) -> None:
    """Call `embed` in turns without end.

    Args:
        embed: embeds all texts; returns the number of tokens.
        parts: returns the share of each part, given the seconds of a call of `embed`.
        place: where `embed` computes.
    """
    result: dict[str, Any] | None = None
    while True:
        turn(result)
        before = place.limit()
        start = time.perf_counter()
        with place.autocast():
            tokens = embed()
        seconds = time.perf_counter() - start
        limit = (before + place.limit()) / 2
        result = {
            "tokens/s": tokens / seconds,
            "limit FLOP/s": limit,
            "share": forward_flops(bilm, tokens) / seconds / limit,
        }
        if parts:
            result |= {"parts": parts(seconds)}


if __name__ == "__main__":
    main()
