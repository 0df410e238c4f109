"""Corpora of one's own: what a table may look like, and what is refused with a next step."""

from pathlib import Path

import pytest
import sounds

from speech_emotion.corpora.own import OwnCorpus, read_table
from speech_emotion.corpora.prepare import PreparedDataset, prepare
from speech_emotion.corpora.validate import check
from speech_emotion.errors import ConfigError, CorpusError
from speech_emotion.evaluation.splits import ALL_SPEAKERS, protocol_of
from speech_emotion.labels import UNLABELLED


def write(folder: Path, text: str, name: str = "mine.csv") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def corpus_of(folder: Path, n_speakers: int, sexes: str = "f") -> OwnCorpus:
    rows = [
        f"{speaker}-{label}.wav,{label},p{speaker:02d},{sexes[speaker % len(sexes)]}"
        for speaker in range(n_speakers)
        for label in ("bored", "happy")
    ]
    return read_table("mine", write(folder, "\n".join(["file,label,speaker,sex", *rows])))


@pytest.mark.parametrize(
    "text",
    [
        "file,label,speaker,sex\na/1.wav,bored,ann,f\nb/1.wav,angry,bob,m\n",
        "\ufefffile;emotion;speaker;gender\r\na/1.wav; Bored;ann;female\r\n\r\nb/1.wav;ANGRY;bob;male\r\n",
        "File\tspeaker\tsex\tlabel\nb/1.wav\tbob\tM\tangry\na/1.wav\tann\tF\tbored\n",
        "file,start,end,emotion,speaker,gender\na/1.wav,0 days,NaT,bored,ann,f\nb/1.wav,0 days,,angry,bob,m\n",
    ],
    ids=["ours", "semicolons and a byte-order mark", "tabs", "audformat"],
)
def test_tables_of_many_kinds_are_read(tmp_path: Path, text: str) -> None:
    corpus = read_table("mine", write(tmp_path, text))
    assert corpus.label_names == ("angry", "bored")  # known emotions first
    assert [(clip.path, clip.label, clip.speaker, clip.sex) for clip in corpus.clips] == [
        ("a/1.wav", "bored", "ann", "female"),
        ("b/1.wav", "angry", "bob", "male"),
    ]
    assert (corpus.n_clips, corpus.n_speakers) == (2, 2)


def test_other_columns_are_kept_as_attributes(tmp_path: Path) -> None:
    text = "file,speaker,sex,label_raw,label,language,seconds\n1.wav,a,x,B,bored,de,3\n2.wav,b,,H,very happy,de,\n"
    corpus = read_table("mine", write(tmp_path, text))
    assert corpus.clips[0].attributes == {"label_raw": "B", "language": "de"}
    assert corpus.clips[1].label == "very_happy"
    assert corpus.clips[0].sex == "unknown"
    assert corpus.language == "de"


def test_without_a_column_of_labels_there_are_none(tmp_path: Path) -> None:
    corpus = read_table("plain", write(tmp_path, "file\tspeaker\n1.wav\ta\n2.wav\tb\n"))
    assert corpus.label_names == (UNLABELLED,)
    assert [clip.label for clip in corpus.clips] == [UNLABELLED] * 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\n1.wav,bored\n2.wav,sad\n", r"no column speaker\. A model must be scored on people"),
        ("speaker,label\na,bored\nb,sad\n", "no column file. Its columns are: speaker, label"),
        (
            "file,label,speaker\n1.wav,bored,a\n2.wav,sad,\n",
            "row 3: file, label and speaker must be filled in",
        ),
        ("file,label,speaker\n1.wav,bored,a\n1.wav,sad,a\n", "1.wav has more than one row"),
        ("file,label,speaker\n1.wav,bored,a\n2.wav,bored,b\n", "1 different labels. A model needs two"),
        ("file,label,speaker\n1.wav,=cmd(),a\n2.wav,sad,b\n", "row 2: '=cmd.*' cannot be a label"),
        ("file,label,speaker\n1.wav,not_sure,a\n2.wav,sad,b\n", "cannot be a label"),
        ("file,label,speaker,end\n1.wav,bored,a,1.5\n2.wav,sad,b,2\n", "a part of 1.wav. Parts are not read"),
        ("file,label,speaker\n", "holds no recordings"),
        ("", "holds no recordings"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        read_table("mine", write(tmp_path, text))


def test_a_table_is_a_regular_file_of_text(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="a pipe or a device"):
        read_table("mine", Path("/dev/zero"))
    with pytest.raises(CorpusError, match="cannot be read"):
        read_table("mine", tmp_path / "none.csv")
    (tmp_path / "bytes.csv").write_bytes(b"file,label,speaker\n\xff\xfe,x,y\n")
    with pytest.raises(CorpusError, match="cannot be read"):
        read_table("mine", tmp_path / "bytes.csv")
    with pytest.raises(CorpusError, match="cannot name a corpus"):
        read_table("../mine", write(tmp_path, ""))


def test_check_and_prepare_read_what_is_listed_and_say_what_is_missing(tmp_path: Path) -> None:
    for name, f0 in (("a/1.wav", 110), ("b/1.wav", 140), ("not-listed.wav", 170)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(sounds.wav(sounds.voice(1.0, f0=f0)))
    text = "file,label,speaker\na/1.wav,bored,ann\nb/1.wav,angry,bob\nb/2.wav,angry,bob\n"
    corpus = read_table("mine", write(tmp_path, text))
    report = check(corpus, tmp_path)
    assert (len(report.clips), report.missing, report.extra) == (2, ("b/2.wav",), ())
    with pytest.raises(CorpusError, match=r"is not mine.csv as listed: 1 missing: b/2.wav"):
        report.require_complete()
    prepare(corpus, tmp_path, tmp_path / "out", workers=1)
    dataset = PreparedDataset.open(tmp_path / "out", verify=True)
    assert dataset.label_names == ("angry", "bored")
    assert [dataset.label_names[label] for label in dataset.labels] == ["bored", "angry"]
    with pytest.raises(CorpusError, match=r"lists a/1.wav, …, of which none is in"):
        corpus.survey(tmp_path / "out")


def test_three_people_make_three_folds(tmp_path: Path) -> None:
    split = protocol_of(corpus_of(tmp_path, 3, "fmf"), "speakers")
    assert [(set(fold.test), set(fold.validation), set(fold.train)) for fold in split.folds] == [
        ({"p00"}, {"p01"}, {"p02"}),
        ({"p01"}, {"p02"}, {"p00"}),
        ({"p02"}, {"p00"}, {"p01"}),
    ]
    assert not split.leaky


def test_many_people_make_five_folds_with_a_man_and_a_woman_to_validate(tmp_path: Path) -> None:
    split = protocol_of(corpus_of(tmp_path, 12, "fm"), "speakers5")
    assert len(split.folds) == 5
    assert frozenset.union(*(fold.test for fold in split.folds)) == {f"p{n:02d}" for n in range(12)}
    assert all(len(fold.validation) == 2 and len(fold.train) >= 7 for fold in split.folds)
    assert split.split_hash == protocol_of(corpus_of(tmp_path, 12, "fm"), "speakers5").split_hash


def test_all_may_be_tested_by_a_model_of_other_recordings(tmp_path: Path) -> None:
    split = protocol_of(corpus_of(tmp_path, 1), "unheard")
    assert split.divides_nothing
    assert split.folds[0].test == {ALL_SPEAKERS}


@pytest.mark.parametrize(("n_speakers", "name"), [(2, "speakers"), (4, "speakers5")])
def test_too_few_people_are_not_divided(tmp_path: Path, n_speakers: int, name: str) -> None:
    with pytest.raises(ConfigError, match=f"mine has {n_speakers} speakers, and {name} needs"):
        protocol_of(corpus_of(tmp_path, n_speakers), name)


def test_a_split_of_another_corpus_does_not_divide_it(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"luna5 divides ravdess, not mine\. Choose one of: speakers, speakers5, unheard"
    ):
        protocol_of(corpus_of(tmp_path, 3), "luna5")
