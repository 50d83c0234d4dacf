import numpy as np
import pytest
import torch

from core.training.cli import main as train
from genomics.__main__ import main
from genomics.detection.checkpoint import load_detector
from genomics.detection.task import MotifDetectionTask
from genomics.motifs.files import read_motifs, write_motifs
from genomics.motifs.matrices import Motif
from genomics.sequences.alphabet import reverse_complement
from genomics.sites.extract_report import read_extents
from genomics.sites.records import read_sites

WORD = "ACGATTGCC"


def checkpoint(path, hide=(), **options):
    """A checkpoint as training writes it, but with weights by hand: a filter for the word, and heads that look at it.

    Feature 0 is the filter's answer; the encoder is empty, so that the norm alone stands between it and the heads.
    """
    options = {"model_options": {"features": 16, "filters": 4, "width": 9, "depth": 0, "heads": 2}, **options}
    task = MotifDetectionTask(**options)
    if task.model_name == "attention" and "features" in options["model_options"]:
        model = task.model
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.zero_()
            rows = torch.eye(4)[["ACGT".index(letter) for letter in WORD]] * 2 - 1
            model.convolution.weight[0] = rows.T
            model.convolution.bias[0] = -6.5  # 2.5 at the word, below 0 with a letter off
            model.projection.weight[0, 0] = 4
            for norm in (m for m in model.modules() if isinstance(m, torch.nn.LayerNorm)):
                norm.weight.fill_(1)
            model.queries[0, 0] = 40
            model.values[0, 0] = 4
            model.bias.fill_(-5)
    torch.save(
        {
            "state_dict": {k: v for k, v in task.state_dict().items() if k not in hide},
            "hyper_parameters": {**dict(task.hparams), "_class_path": "genomics.MotifDetectionTask"},
            "pytorch-lightning_version": "2.6.4",
        },
        path,
    )
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("command")
    checkpoint(folder / "model.ckpt")
    rng = np.random.default_rng(0)
    texts = []
    for i in range(40):
        text = "".join(rng.choice(list("ACGT"), 60))
        start = int(rng.integers(10, 40))
        texts.append(text[:start] + (reverse_complement(WORD) if i % 2 else WORD) + text[start + 9 :])
    (folder / "peaks.fa").write_text("".join(f">p{i}\n{text}\n" for i, text in enumerate(texts)))
    (folder / "genome.fa").write_text(">chr1\n" + "\n".join(texts) + "\n>chr2\n" + "T" * 100 + "\n")
    others = [Motif(rng.dirichlet([0.3] * 4, 10) * 100, id=f"M{i}") for i in range(40)]
    write_motifs([*others, Motif.from_sites([WORD] * 20, id="W1", name="word")], folder / "known.meme")
    return folder


def test_motifs_then_scan_finds_the_word(folder, capsys):
    out = folder / "motifs"
    options = ["--ckpt", str(folder / "model.ckpt"), "--out"]
    assert main(["motifs", str(folder / "peaks.fa"), *options, str(out), "--database", str(folder / "known.meme")]) == 0
    table = capsys.readouterr().out
    assert WORD in table and "word W1" in table
    assert {path.name for path in out.iterdir()} == {
        "heads.tsv", "motifs.meme", "motifs.jaspar", "sites.bed", "heads.png"
    }  # fmt: skip
    assert read_motifs(out / "motifs.meme")[0].consensus == WORD
    (extent,) = read_extents(out / "heads.tsv").values()
    assert extent == ("head0_word", -4, 9)
    assert len(list(read_sites(out / "sites.bed"))) > 30
    bed = str(folder / "sites.bed")
    more = ["--window", "60", "--stride", "20", "--threads", "2", "--threshold", "0.5"]
    more += ["--heads", str(out / "heads.tsv"), "--bedgraph", str(folder / "p.bedgraph")]
    assert main(["scan", str(folder / "genome.fa"), *options, bed, *more]) == 0
    said = capsys.readouterr().err
    sites = list(read_sites(bed))
    genome = "".join((folder / "genome.fa").read_text().split(">chr2")[0].splitlines()[1:])
    places = [i for i in range(len(genome)) if genome[i : i + 9] in (WORD, reverse_complement(WORD))]
    assert [(site.chrom, site.start, site.name) for site in sites] == [("chr1", i, "head0_word") for i in places]
    assert "2,500 bases in 121 windows" in said and f"{len(sites)} sites" in said and "genome.fa" in said
    assert (folder / "p.bedgraph").read_text().splitlines()[-1].startswith("chr2\t60\t100\t")


def test_errors_are_one_line(folder, capsys):
    ckpt, genome = str(folder / "model.ckpt"), str(folder / "genome.fa")
    (folder / "broken.ckpt").write_text("no")
    (folder / "rna.fa").write_text(">x\nACGU\n")
    cnn = checkpoint(folder / "cnn.ckpt", model_name="cnn", model_options={})
    torch.save({"state_dict": {}, "hyper_parameters": {"_class_path": "vision.Other"}}, folder / "other.ckpt")
    less = checkpoint(folder / "less.ckpt", hide=("model.bias",))
    for genome_, ckpt_, more, message in (
        (str(folder / "none.fa"), ckpt, [], "genome: expected a file, got"),
        (genome, str(folder / "none.ckpt"), [], "expected a checkpoint file"),
        (genome, str(folder / "broken.ckpt"), [], "damaged or no checkpoint"),
        (genome, str(cnn), [], "expected model_name 'attention', which has heads, got 'cnn'"),
        (
            genome,
            str(folder / "other.ckpt"),
            [],
            "path: expected a task of a registered domain, got vision.Other",
        ),
        (genome, str(less), [], "model.bias is missing in the checkpoint"),
        (genome, ckpt, [], "--window: expected the length of the training sequences"),
        (genome, ckpt, ["--window", "60", "--stride", "61"], "stride: expected at most the window, 60, got 61"),
        (genome, ckpt, ["--window", "60", "--heads", genome], "genome.fa:1: expected the columns"),
        (str(folder / "rna.fa"), ckpt, ["--window", "60"], "rna.fa:2: expected IUPAC codes of DNA, got 'U'"),
    ):
        out = folder / "never.bed"
        assert main(["scan", genome_, "--ckpt", ckpt_, "--out", str(out), "--no-progress", *more]) == 1
        said = capsys.readouterr().err
        assert (
            said.startswith("attention-suite: error: ")
            and message in said
            and said.count("\n") == 1
            and not out.exists()
        )
    assert main(["motifs", genome, "--ckpt", ckpt, "--out", str(folder), "--first", "0"]) == 1
    assert "--first: expected at least 1, got 0" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["scan", "--help"])
    assert "training length" in capsys.readouterr().out


def test_a_checkpoint_of_training_loads(tmp_path):
    config = "configs/genomics/planted.yaml"
    options = ["--data.positives", "40", "--data.sequence_length", "80", "--trainer.max_epochs", "1"]
    quiet = ["--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"]
    options += [*quiet, "--trainer.accelerator", "cpu", "--trainer.default_root_dir", str(tmp_path)]
    train(
        ["fit", "--config", config, *options, "--trainer.limit_train_batches", "1", "--trainer.limit_val_batches", "1"]
    )
    (path,) = tmp_path.rglob("last.ckpt")
    model, length = load_detector(path)
    assert not model.training and length in (80, None)
    task = MotifDetectionTask.load_from_checkpoint(path, map_location="cpu", weights_only=True).eval()
    x = torch.eye(4)[torch.randint(0, 4, (3, 80), generator=torch.Generator().manual_seed(0))]
    torch.testing.assert_close(model(x), task(x))


def test_a_detector_comes_from_its_run_or_a_checkpoint_that_names_no_class(folder, tmp_path):
    held = torch.load(folder / "model.ckpt", weights_only=True)
    del held["hyper_parameters"]["_class_path"]
    held["state_dict"]["training_length"] = torch.tensor(60)
    torch.save(held, tmp_path / "best.ckpt")
    for path in (tmp_path, tmp_path / "best.ckpt", str(tmp_path / "best.ckpt")):
        model, length = load_detector(path)
        assert length == 60 and torch.equal(model.queries, held["state_dict"]["model.queries"])
    with pytest.raises(ValueError, match="path: expected a checkpoint of MotifDetectionTask, got one of EventClass"):
        load_detector("tests/checkpoints/timeseries.pt")
