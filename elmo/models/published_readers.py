"""What the readers of old make of a model in the published format.

As their source has it: AllenNLP (`modules/elmo.py`), bilm-tf (`bilm/model.py`), simple_elmo
(`elmo_helpers.py`, `model.py`) and pytorch-fast-elmo (`factory.py`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from elmo.data.text import PATTERNS, WordTokenizer
from elmo.models.published_options import Options

READERS = ("AllenNLP", "bilm-tf", "simple_elmo", "pytorch-fast-elmo")
MAX_CHARACTERS = 50  # in AllenNLP, and by default in pytorch-fast-elmo
MAX_LAYERS = 8  # in bilm-tf and simple_elmo


def limits_of_readers(tokenizer: WordTokenizer, options: Options, cached: bool) -> list[str]:
    """Return sentences: which reader cannot open a model, and what none of them does by itself.

    Args:
        tokenizer: of the model.
        options: of the model.
        cached: whether the token vectors of a vocabulary lie beside a model with characters.
    """
    reasons: dict[str, list[str]] = {reader: [] for reader in READERS}
    for reader, reason in _refusals(options):
        reasons[reader].append(reason)
    refusals = [
        f"{reader} cannot open it: {'; '.join(found)}."
        for reader, found in reasons.items()
        if found
    ]
    return [*refusals, *_hints(options, cached), *_left_to_the_user(tokenizer, options)]


def _refusals(options: Options) -> Iterator[tuple[str, str]]:
    """Yield the readers that fail, or give other vectors, and why."""
    allennlp, *of_tensorflow, fast_elmo = READERS
    characters = options.characters
    if characters is None:
        yield allennlp, "it reads characters, and this model whole words"
    elif characters["max_characters"] != MAX_CHARACTERS:
        found = characters["max_characters"]
        yield allennlp, f"a word has {MAX_CHARACTERS} characters there, and {found} here"
    if not options.skip:
        yield allennlp, "it needs skip connections, and this model has none"
        if options.num_layers > 1:
            yield fast_elmo, "it always adds skip connections, and this model has none"
    clips = {"cell_clip": options.cell_clip, "proj_clip": options.projection_clip}
    if missing := [name for name, clip in clips.items() if clip is None]:
        yield fast_elmo, f"it does not take null for {' or '.join(missing)}"
    for reader in of_tensorflow:
        if options.num_layers > MAX_LAYERS:
            yield reader, f"it reads at most {MAX_LAYERS} layers, and here are {options.num_layers}"
        if characters is not None and options.num_filters < options.projection_dim:
            yield (
                reader,
                f"it needs at least projection_dim={options.projection_dim} filters, and here are "
                f"{options.num_filters}",
            )


def _hints(options: Options, cached: bool) -> Iterator[str]:
    """Yield what has to be said to a reader for it to open the model."""
    if options.characters is None:
        yield (
            "bilm-tf needs use_character_inputs=False, and weights.hdf5 as its "
            "embedding_weight_file too; so does simple_elmo, in its BidirectionalLanguageModel: "
            "its ElmoModel reads characters."
        )
    elif options.characters["max_characters"] != MAX_CHARACTERS:
        found = options.characters["max_characters"]
        yield f"pytorch-fast-elmo needs max_characters_per_token={found} in batch_to_char_ids."
    if cached:
        yield (
            "simple_elmo takes any .hdf5 file of a folder for the weights unless one is called "
            "model.hdf5: rename weights.hdf5."
        )


def _left_to_the_user(tokenizer: WordTokenizer, options: Options) -> Iterator[str]:
    """Yield what happens to a text here, but not in a reader."""
    content = json.loads(tokenizer.json)
    if content["normalizer"] is not None:  # trained here
        pattern = content["pre_tokenizer"]["pattern"]["Regex"].removeprefix("(?i)")
        name = next(name for name, found in PATTERNS.items() if found == pattern)
        yield (
            "No reader cleans or splits texts as they were in training: give it words, split as "
            f"by data.pre_tokenizer={name}."
        )
        if options.characters is None:
            lower = {"type": "Lowercase"} in content["normalizer"]["normalizers"]
            form = "lower-cased, in the Unicode form NFKC" if lower else "in the Unicode form NFKC"
            call = f"unicodedata.normalize('NFKC', word){'.lower()' if lower else ''}"
            yield (
                f"The words of vocab.txt are {form}, and no reader changes a word before it looks "
                f"it up: give it {call}."
            )
    yield (
        "The readers start a text from the state in which the one before it ended, so their "
        "vectors differ from those of elmo.load_bilm, which starts afresh without stateful=True."
    )
