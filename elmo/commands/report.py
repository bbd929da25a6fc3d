"""`elmo report FOLDERS -o report.pdf`: a paper made from finished runs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from elmo.commands import base
from elmo.errors import ConfigError
from elmo.utils.terminal import say

DISCUSSION = Path(__file__).parent.parent.parent / "docs" / "discussion.md"


def main(arguments: Sequence[str] | None = None) -> None:
    args = _parser().parse_args(arguments)
    out = Path(args.output)
    if out.suffix != ".pdf":
        raise ConfigError(f"-o {out}: expected a name that ends in .pdf")
    if args.keep and Path(args.keep).exists():
        raise ConfigError(f"--keep {args.keep}: is there already; name a new folder")

    from elmo.report.collect import collect
    from elmo.report.keep import keep
    from elmo.report.pages import to_pdf
    from elmo.report.paper import write
    from elmo.utils.files import atomic_writer, write_text

    folder = f"{out.stem}_figures"
    material = collect([Path(folder) for folder in args.folders], args.data)
    discussion = args.discussion or (str(DISCUSSION) if DISCUSSION.is_file() else None)
    paper = write(material, folder, discussion, asked_for=args.discussion is not None)
    pages = to_pdf(paper.text, paper.figures, folder)
    for name, svg in paper.figures.items():
        with atomic_writer(out.parent / folder / name) as handle:
            handle.write(svg)
    write_text(out.with_suffix(".md"), paper.text)
    with atomic_writer(out) as handle:
        handle.write(pages)
    say(
        f"biLMs: {len(material.bilms)}, settings of classifiers: {len(material.classifiers)}, "
        f"learning curves: {len(material.lines)}"
    )
    for section, reason in paper.missing:
        say(f"left out: {section}: {reason}")
    say(f"wrote {out}, {out.with_suffix('.md')}, {out.parent / folder}")
    if args.keep:
        keep(material, Path(args.keep))
        say(f"wrote {args.keep}: the figures of the runs, without models and texts")


def _parser() -> argparse.ArgumentParser:
    parser = base.parser(
        "report",
        "Writes a report of finished runs, as PDF and as Markdown with its figures beside it.\n"
        "Nothing is trained. Sections for which there are no runs are left out, and said so.",
        "elmo report outputs -o report.pdf",
    )
    parser.add_argument("folders", nargs="+", metavar="FOLDER", help="of runs or sweeps")
    parser.add_argument(
        "-o", "--output", metavar="FILE", default="report.pdf", help="default: report.pdf"
    )
    parser.add_argument(
        "--data",
        metavar="NAME",
        help="which corpus, by name or fingerprint, where the folders have runs of several",
    )
    parser.add_argument(
        "--discussion",
        metavar="FILE",
        help="Markdown to include where it was written of the same data; default: "
        "docs/discussion.md of the checkout",
    )
    parser.add_argument(
        "--keep",
        metavar="DIR",
        help="a new folder for what the report is made of, to make it again from there: records, "
        "test predictions, curves; no models, no texts, no paths",
    )
    return parser
