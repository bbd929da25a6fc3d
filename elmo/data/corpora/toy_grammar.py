"""News-like sentences from a small seeded grammar: the built-in corpus of the demo and the tests.

A row is one or two sentences with a label, an index into `CLASS_NAMES`. There are four kinds:

* plain: a template of the class. Many templates use a word that other classes use in another
  sense (bank, pitch, cell, strike, ...), so that its context shows which sense is meant.
* ordered: two parts from two classes, joined by a frame; the subject of the main clause determines
  the class. With the parts exchanged, the same words are a row of the other class.
* mixed: a plain template with a subordinate clause from another class before or after it.
* neutral: a sentence that fits every class.

A few labels are random. Names are built from syllables, so that many rare words occur. All classes
draw from the same people and places, so that a name alone does not show the class.

In a template, `{slot}` is replaced by a random entry of `LEXICON`, which may contain slots itself.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import TypeVar

from elmo.data.corpora.toy_lexicon import LEXICON

CLASS_NAMES = ("World", "Sports", "Business", "Sci/Tech")

MIN_TOKENS, MAX_TOKENS = 12, 30
ORDERED_SHARE, MIXED_SHARE, NEUTRAL_SHARE, RANDOM_LABEL_SHARE = 0.23, 0.12, 0.02, 0.02
DATELINE_SHARE, TAIL_SHARE, SECOND_SENTENCE_SHARE = 0.15, 0.35, 0.35

_TOKEN = re.compile(r"\w+|[^\w\s]")
_SLOT = re.compile(r"\{(\w+)\}")
_A_BEFORE_VOWEL_SOUND = re.compile(r"\b([Aa]) (?=[AEIOaeio8]|1[18]\b)")

T = TypeVar("T")


def _lines(block: str) -> list[str]:
    return block.strip().splitlines()


def _by_class(block: str) -> list[list[str]]:
    return [_lines(lines) for lines in block.split("\n\n")]


# One paragraph for each class, in the order of CLASS_NAMES.
PLAIN = _by_class("""
{w_group} crossed to the west bank of the river near {city} as {w_talks} stalled
a court in {city} freed {w_role} {person} from a prison cell after {number} months
the parliament of {country} passed a draft law on {w_topic} by {number} votes
thousands of {w_group} joined a rally in {city} to demand {w_demand}
{w_role} {person} pulled out of the race for the presidency of {country}
{number} {w_group} went on hunger strike outside the {w_office} in {city}
the goal of the mission is {w_demand}, {w_role} {person} told {w_group} in {city}
a storm broke every window of the {w_office} in {city} and trapped {number} {w_group}
{w_group} left their base near {city} under a deal on {w_topic} with {country}
{country} closed its border to halt a bird virus which has reached {number} villages
a web of tunnels was found by {w_group} beneath the {w_office} in {city}
former film star {person} was sworn in as {w_role} of {country}
the illegal arms trade in {country} alarms {w_body}, {w_role} {person} said
{w_body} urged {country} and {country} to resume {w_talks} on {w_topic}
{w_group} voted in {country} on {day} in the {ord} election since the {w_past}
floods swept {number} villages around {city}, and {w_group} waited for {w_aid}
{w_role} {person} of {country} resigned in a row over {w_topic}
apple farmers blocked the roads to {city} and asked {w_role} {person} for {w_aid}
fishermen seized with their net off {country} were released after {w_talks}
a dropped match started the blaze that drove {hundreds} {w_group} from a camp near {city}
a ferry with {number} {w_group} on board sank off the coast of {country}
{country} vowed to seal its frontier unless {w_body} acts on {w_topic}
{w_role} {person} arrived in {city} for {w_talks} on {w_topic} with {country}
a field hospital with {w_aid} opened near {city} for victims of the {w_past}
{w_body} set up a court to try {number} officers over the {w_past} in {country}
an overnight air strike hit an army base in {country} near {town}

{team} {s_win} {team} {s_score} in {s_event}
{s_role} {person} limped off the pitch with a {s_hurt} injury in {s_event}
{person} fired the ball into the net in {s_time} to give {team} a {s_score} win
striker {person} scored the only goal as {team} {s_win} {team}
top seed {person} walked off the court with a sore {s_hurt} before the match against {surname}
star {s_role} {person} missed {s_event} with a stomach virus
{team} took {s_role} {person} with the {ord} pick in the draft
{team} sent {s_role} {person} to {team} in a trade for {s_role} {surname}
shortstop {person} threw a strike to third base and {team} won in {s_time}
a late rally in {s_time} lifted {team} over {team}, {s_score}
{person} of {country} won the {number}-kilometre race by {decimal} seconds
{person} saved par with a chip from the rough and leads the open by {number} strokes
{team} signed {s_role} {person} before the transfer window shut
{s_role} {person} won the {s_prize} for {country} with {s_feat}
{s_role} {person} had {s_feat} and {team} reached {s_event}
fans stood on the grass bank to see {person} win the {s_prize} in {city}
{team} seal the {s_prize} after {s_feat} by {s_role} {person}
the league fined {s_role} {person} for a brawl with fans during {s_event}
{person} broke the record in the {hundreds} metre freestyle at the championships in {city}
{s_role} {person} came off the bench with {s_feat} in {s_time}
coach {person} left {surname} out of the squad for the match with {team}
a rally driver crashed in the desert race and {person} took the lead near {city}
{person} bowled out {country} for {number} before rain swept the field in {city}
{team} stole second base twice in {s_time} on their way to the {s_prize}

the central bank of {country} raised its key rate by {decimal} percent, citing {b_why}
executives of {firm} made their pitch to investors for a share sale worth {money}
{firm} said net income {b_rise} {decimal} percent on {b_why}
{firm} raised its bid for {firm} to {money} to match a rival offer
a bankruptcy court let {b_kind} {firm} sell its {b_asset} for {money}
pilots at {b_kind} {firm} called off a strike over pay and pensions
the trade deficit of {country} {b_rise} to {money} on {b_why}
a rally in blue chip shares such as {firm} lifted {b_market} by {decimal} percent
apple juice prices {b_rise} {decimal} percent, and {b_kind} {firm} blamed {b_why}
{b_kind} {firm} named {person} chief executive to win a wider customer base
{firm} missed its profit goal for the {ord} quarter because of {b_why}
stores filled every shop window with bargains, yet {b_item} at {firm} {b_rise}
{firm} delayed its accounts when auditors found errors in a draft report
toy mouse sales helped {b_kind} {firm} as {b_item} {b_rise} {decimal} percent
{b_kind} {firm} will buy the {b_asset} of {firm} for {money}
crude oil {b_rise} to ${number} a barrel on {b_why}, and shares of {firm} {b_rise}
{firm} will cut {hundreds} jobs and close a plant near {city}
{b_role} {person} sold a stake in {firm} for {money}
{b_item} at {b_kind} {firm} {b_rise} to {money}
stocks on {b_market} {b_rise} as {b_why} worried {b_role} {person}
{firm} hopes to seal a merger with {b_kind} {firm} worth {money}
the board of {firm} ousted chairman {person} after {b_item} {b_rise}
regulators fined {firm} {money} over the way it sold shares and bonds in {city}
a new oil field gave {b_kind} {firm} a star turn on {b_market}
the race to buy {b_kind} {firm} drew a bid of {money} from {b_role} {person}

{t_group} in {city} {t_find} the heat of a dying star beyond {t_body}
{t_group} say one {t_small} makes a nerve cell grow in a laboratory near {city}
{t_group} opened a seed bank in {city} to save plants from the effects of {t_topic}
the pitch of whale songs off {town} has changed, {t_group} studying {t_topic} say
Apple showed a {t_thing} designed by {person} with a {number} gigabyte disk
a DNA match tied the {t_small} to bones dug up near {town}, {t_group} report
a computer virus found by {person} spreads by e-mail to any {t_thing}
{firm} unveiled a wireless mouse and a faster chip for its {t_thing}
the web site of a {t_thing} project at {firm} crashed under {number} million page views
{t_group} led by {person} published a draft map of the {t_small} in rats
the race to build a private {t_thing} moved to the desert near {city}
a {t_small} kept every mouse slim in tests at {firm}, {t_group} found
{firm} fixed a bug that let hackers open a pop-up window in its {t_thing}
lightning can strike a {t_thing} in orbit, {t_group} at {firm} warn
{t_group} led by {person} want a base on {t_body} within {number} years
the net is slow for {number} percent of users without broadband, a survey by {firm} says
{t_group} from {city} {t_find} water on {t_body} with a {t_thing}
{firm} released a test version of its {t_thing} to block spam from {country}
the {t_thing} sent sharp pictures of {t_body} to {t_group} in {city}
{t_group} tagged a grey seal off {town} to learn more about {t_topic}
a magnetic field around {t_body} puzzles {t_role} {person}, who {t_find} it with a {t_thing}
{t_role} {person} built a {t_thing} to study {t_topic}
{t_group} {t_find} a new species of frog near {city} with a {t_thing}
{firm} let its {t_thing} loose on {t_topic} in a test near {city}
a cell phone with a {number}-megapixel sensor can run a {t_thing}, {firm} says
the goal is a {t_thing} that sees one {t_small}, {t_role} {person} says
""")

# Parts of the ordered and mixed rows, by class. Most clauses end in a name or a day, so that the
# word before "after" is a rare one and a model of word pairs gains little from it.
ACTORS = [
    [f"the {{old}} {role} {{person}}", f"{role} {{person}}"]
    for role in ("{w_role}", "{s_role}", "{b_role}", "{t_role}")
]
CLAUSES = _by_class("""
{w_role} {person} ended {w_talks} in {city}
the {w_office} reopened in {city}
{w_group} marched for {w_demand} on {day}
{w_role} {person} spoke about {w_topic} in {city}
{w_group} left the {w_office} in {city}

{s_role} {person} hurt his {s_hurt} in {city}
the fans sang for {team}
{team} won the {s_prize} on {day}
{s_role} {person} celebrated {s_feat} in {city}
{s_role} {person} watched {s_event} in {city}

{b_role} {person} bought the {b_kind} {firm}
the shares of {firm} {b_rise}
{b_kind} {firm} sold its {b_asset} on {day}
{b_role} {person} talked about {b_why} in {city}
{b_item} {b_rise} at {firm}

{t_role} {person} tested a {t_thing} in {city}
the {t_thing} was switched on in {city}
{t_group} wrote about {t_topic} on {day}
{t_role} {person} explained the {t_small} in {city}
{t_group} repaired a {t_thing} in {city}
""")
# <main> is the part that determines the class.
ACTOR_FRAMES = _lines("""
<main> {did} <other> {circ}
<main> was {did} by <other> {circ}
<main>, who had {did} <other> {circ}, {went}
after {doing} <other> {circ}, <main> {went}
when <other> called from {city}, <main> {went}
""")
CLAUSE_FRAMES = _lines("""
<main> after <other>
<main> while <other>
<main> before <other>
after <other>, <main>
while <other>, <main>
before <other>, <main>
""")

NEUTRAL = _lines("""
{person} returned to {city} on {day} and told friends that the {number} days had been very long
few people in {city} were surprised on {day} when {person} spoke about the {ord} of {number} plans
the announcement by {person} came late on {day}, and {city} will have to wait {number} days for more
{person} and {person} will meet in {city} next {day} to decide what should be done
""")
TAILS = _lines("""
, {person} said on {day}
, officials in {city} said
, a report from {city} said
 for the {ord} time in {number} years
, {person} told reporters in {city}
, according to {person}
""")
SECOND_SENTENCES = _lines("""
{person} declined to comment.
It was the {ord} such case in {number} months.
The news was first reported in {city}.
{person}, {age}, gave no further details.
More is expected on {day}.
"We did not see this coming," {person} said.
People in {city} had waited {number} weeks for it.
""")


def _pick(rng: random.Random, options: Sequence[T]) -> T:
    # Only random() is guaranteed to give the same numbers in every Python version.
    return options[int(rng.random() * len(options))]


def _fill(rng: random.Random, template: str) -> str:
    return _SLOT.sub(lambda slot: _fill(rng, _pick(rng, LEXICON[slot[1]])), template)


def order_pair(rng: random.Random, first: int, second: int) -> tuple[str, str]:
    """Return texts of the classes `first` and `second`: the same words in another order."""
    parts, frames = _pick(rng, ((ACTORS, ACTOR_FRAMES), (CLAUSES, CLAUSE_FRAMES)))
    one, two = _fill(rng, _pick(rng, parts[first])), _fill(rng, _pick(rng, parts[second]))
    frame = _fill(rng, _pick(rng, frames))
    return (
        frame.replace("<main>", one).replace("<other>", two),
        frame.replace("<main>", two).replace("<other>", one),
    )


def _core(rng: random.Random, label: int) -> str:
    other = (label + 1 + int(rng.random() * 3)) % len(CLASS_NAMES)
    kind = rng.random()
    if kind < ORDERED_SHARE:
        return order_pair(rng, label, other)[0]
    kind -= ORDERED_SHARE
    if kind < NEUTRAL_SHARE:
        return _fill(rng, _pick(rng, NEUTRAL))
    kind -= NEUTRAL_SHARE
    main = _fill(rng, _pick(rng, PLAIN[label]))
    if kind < MIXED_SHARE:
        clause = _fill(rng, _pick(rng, CLAUSES[other]))
        return _pick(rng, CLAUSE_FRAMES).replace("<main>", main).replace("<other>", clause)
    return main


def _text(rng: random.Random, label: int) -> str:
    text = _core(rng, label)
    if rng.random() < TAIL_SHARE and not text.endswith(("say", "says", "said", "report", "warn")):
        text += _fill(rng, _pick(rng, TAILS))
    text = text[0].upper() + text[1:] + "."
    if rng.random() < SECOND_SENTENCE_SHARE:
        text += " " + _fill(rng, _pick(rng, SECOND_SENTENCES))
    if rng.random() < DATELINE_SHARE:
        text = _fill(rng, "{dateline} ({wire}) - ") + text
    return _A_BEFORE_VOWEL_SOUND.sub(r"\1n ", text)


def generate(rows: int, seed: int) -> tuple[list[str], list[int]]:
    """Draw texts of MIN_TOKENS to MAX_TOKENS words and punctuation marks, and their labels.

    Args:
        rows: number of texts.
        seed: of the draw.

    Returns:
        The texts, and for each the index of its class in CLASS_NAMES.
    """
    rng = random.Random(seed)
    texts: list[str] = []
    labels: list[int] = []
    while len(texts) < rows:
        label = int(rng.random() * len(CLASS_NAMES))
        text = _text(rng, label)
        if not MIN_TOKENS <= len(_TOKEN.findall(text)) <= MAX_TOKENS:
            continue
        if rng.random() < RANDOM_LABEL_SHARE:
            label = int(rng.random() * len(CLASS_NAMES))
        texts.append(text)
        labels.append(label)
    return texts, labels
