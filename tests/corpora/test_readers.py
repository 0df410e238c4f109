"""The corpus readers: names read in full, wrong ones refused by field, one corpus whatever the layout."""

import os
from collections import Counter
from pathlib import Path, PurePosixPath

import pytest

from speech_emotion import corpora
from speech_emotion.corpora.manifest import Clip, Sex
from speech_emotion.corpora.readers import cremad, ravdess
from speech_emotion.corpora.validate import check
from speech_emotion.errors import CorpusError
from speech_emotion.labels import EMOTIONS

NEMO_HEADER = "file_id\temotion\traw_text\tnormalized_text\tspeaker_id\tgender\tage\n"


def touch(folder: Path, *paths: str) -> Path:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()
    return folder


def only_clip(corpus: str, folder: Path, path: str) -> Clip:
    (clip,) = corpora.get(corpus).scan(touch(folder, path))
    return clip


def test_ravdess_names_are_read_in_full() -> None:
    name = ravdess.parse("02-01-06-01-02-01-12.mp4")
    assert name == ravdess.RavdessName(
        modality="video-only",
        channel="speech",
        emotion="fearful",
        intensity="normal",
        statement="Dogs are sitting by the door",
        repetition="first",
        actor="12",
    )
    assert name.sex == "female"
    assert ravdess.parse("03-02-05-02-01-02-07.wav") == ravdess.RavdessName(
        "audio-only", "song", "angry", "strong", "Kids are talking by the door", "second", "07"
    )
    assert ravdess.parse("01-01-01-01-01-01-01").sex == "male"


def test_ravdess_codes_are_our_labels_in_order() -> None:
    assert tuple(ravdess.parse(f"03-01-0{code}-01-01-01-01").emotion for code in range(1, 9)) == EMOTIONS


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("04-01-06-01-02-01-12.wav", "modality"),
        ("03-03-06-01-02-01-12.wav", "channel"),
        ("03-01-09-01-02-01-12.wav", "emotion"),
        ("03-01-00-01-02-01-12.wav", "emotion"),
        ("03-01-06-03-02-01-12.wav", "intensity"),
        ("03-01-01-02-02-01-12.wav", "intensity"),  # neutral was never strong
        ("03-01-06-01-03-01-12.wav", "statement"),
        ("03-01-06-01-02-03-12.wav", "repetition"),
        ("03-01-06-01-02-01-25.wav", "actor"),
        ("03-01-06-01-02-01-00.wav", "actor"),
        ("03-01-06-01-02-01-1.wav", "actor"),
        ("03-02-07-01-02-01-12.wav", "emotion"),  # disgust was never sung
        ("03-01-06-01-02-01.wav", "6 fields"),
        ("speech.wav", "1 fields"),
    ],
)
def test_a_wrong_name_is_refused_with_its_field(name: str, field: str) -> None:
    with pytest.raises(CorpusError, match=rf"{name}.*{field}.*Restore"):
        ravdess.parse(name)


@pytest.mark.parametrize(
    ("corpus", "n_clips", "n_speakers", "labels"),
    [
        ("ravdess", 1440, 24, {"neutral": 96} | dict.fromkeys(EMOTIONS[1:], 192)),
        ("ravdess-song", 1012, 23, {"neutral": 92} | dict.fromkeys(EMOTIONS[1:6], 184)),
        (
            "nemo",
            4481,
            9,
            {"neutral": 809, "happy": 749, "sad": 769, "angry": 749, "fearful": 736, "surprised": 669},
        ),
        ("tess", 2800, 2, dict.fromkeys([*EMOTIONS[:1], *EMOTIONS[2:]], 400)),
        ("savee", 480, 4, {"neutral": 120} | dict.fromkeys(EMOTIONS[2:], 60)),
        (
            "emodb",
            454,
            10,
            {"neutral": 79, "happy": 71, "sad": 62, "angry": 127, "fearful": 69, "disgust": 46},
        ),
        ("cremad", 7442, 91, {"neutral": 1087} | dict.fromkeys(EMOTIONS[2:7], 1271)),
        ("emospeech-in", 2015, 105, {"calm": 749, "happy": 389, "angry": 455, "fearful": 422}),
        ("emotiontts-ko", 300, 15, dict.fromkeys(["neutral", "happy", "sad", "angry"], 75)),
        ("turev-db", 1735, 6, {"calm": 408, "happy": 357, "sad": 483, "angry": 487}),
        (
            "banglaser",
            1467,
            34,
            {"neutral": 243} | dict.fromkeys(["happy", "sad", "angry", "surprised"], 306),
        ),
    ],
)
def test_what_was_published(corpus: str, n_clips: int, n_speakers: int, labels: dict[str, int]) -> None:
    published = corpora.get(corpus)
    assert (published.n_clips, published.n_speakers) == (n_clips, n_speakers)
    assert dict(published.labels) == labels
    assert list(published.labels) == [label for label in EMOTIONS if label in labels]
    assert published.labels.total() == n_clips  # no label but EMOTIONS


def test_ravdess_has_sixty_clips_per_actor_and_actor_18_never_sings() -> None:
    spoken, sung = Counter(), Counter()
    for (speaker, _), n in corpora.get("ravdess").counts.items():
        spoken[speaker] += n
    for (speaker, _), n in corpora.get("ravdess-song").counts.items():
        sung[speaker] += n
    assert spoken == {f"{actor:02d}": 60 for actor in range(1, 25)}
    assert sung == {f"{actor:02d}": 44 for actor in range(1, 25) if actor != 18}


@pytest.mark.parametrize("name", corpora.names())
def test_a_published_clip_is_read_back_as_published(name: str, tmp_path: Path) -> None:
    """The list of names and the reader of names agree, for every corpus whose names are known."""
    corpus = corpora.get(name)
    if not corpus.names:
        pytest.skip("its names are in its own table, or not known one by one")
    clips = corpus.scan(touch(tmp_path, *(f"{published}.wav" for published in corpus.names)))
    assert Counter((clip.speaker, clip.label) for clip in clips) == corpus.counts
    assert {corpus.name_of(clip) for clip in clips} == corpus.names


def test_layout_and_suffix_do_not_matter(tmp_path: Path) -> None:
    published = touch(
        tmp_path / "a", "Actor_02/03-01-03-01-01-01-02.wav", "Actor_01/03-01-08-01-01-01-01.wav"
    )
    flat = touch(tmp_path / "b", "03-01-08-01-01-01-01.flac", "x/y/03-01-03-01-01-01-02.OPUS")
    clips, others = (corpora.get("ravdess").scan(folder) for folder in (published, flat))
    assert [(clip.name, clip.speaker, clip.label) for clip in clips] == [
        ("03-01-08-01-01-01-01", "01", "surprised"),
        ("03-01-03-01-01-01-02", "02", "happy"),
    ]
    assert [(clip.name, clip.speaker, clip.label) for clip in others] == [
        (clip.name, clip.speaker, clip.label) for clip in clips
    ]
    assert clips[0].path == "Actor_01/03-01-08-01-01-01-01.wav"
    assert clips[0].attributes == {
        "modality": "audio-only",
        "channel": "speech",
        "intensity": "normal",
        "statement": "Kids are talking by the door",
        "repetition": "first",
    }


def test_a_scan_skips_song_video_and_second_copies(tmp_path: Path) -> None:
    touch(tmp_path, "Actor_01/03-01-03-01-01-01-01.wav", "copy/Actor_01/03-01-03-01-01-01-01.wav")
    touch(tmp_path, "03-02-03-01-01-01-01.wav", "01-01-03-01-01-01-01.mp4", "02-01-03-01-01-01-01.mp4")
    touch(
        tmp_path,
        "01-02-03-01-01-01-01.mp4",
        "holiday.mp3",
        "README.txt",
        "Actor_01/._03-01-03-01-01-01-01.wav",
    )
    survey = corpora.get("ravdess").survey(tmp_path)
    assert [clip.path for clip in survey.clips] == ["Actor_01/03-01-03-01-01-01-01.wav"]
    assert survey.skipped == {
        "03-02-03-01-01-01-01.wav": "song",
        "01-01-03-01-01-01-01.mp4": "full-AV speech",
        "02-01-03-01-01-01-01.mp4": "video-only speech",
        "01-02-03-01-01-01-01.mp4": "full-AV song",
        "copy/Actor_01/03-01-03-01-01-01-01.wav": "second copy",
    }
    assert list(survey.unknown) == ["holiday.mp3"]
    assert [clip.path for clip in corpora.get("ravdess-song").scan(tmp_path)] == ["03-02-03-01-01-01-01.wav"]


def test_nemo_reads_its_table(tmp_path: Path) -> None:
    rows = "MP0_fear_3.wav\tfear\tUcho „wykrywa”.\tucho\t        MP0\tmale\t24\n"
    touch(tmp_path, "samples/MP0_fear_3.opus", "samples/MP0_fear_4.opus")
    (tmp_path / "data.tsv").write_text(NEMO_HEADER + rows, encoding="utf-8")
    survey = corpora.get("nemo").survey(tmp_path)
    assert survey.clips == (
        Clip("samples/MP0_fear_3.opus", "fearful", "MP0", "male", {"age": "24", "text": "Ucho „wykrywa”."}),
    )
    assert "that the table of the corpus lists" in survey.unknown["samples/MP0_fear_4.opus"]


@pytest.mark.parametrize(
    "table",
    [
        b"",
        b"file_id\temotion\nA\tfear\n",
        (NEMO_HEADER + "A_fear_1.wav\tfear\n").encode(),
        b"\xff\xfe\x00file_id",
        (NEMO_HEADER + "MP0_fear_3.wav\tboredom\tx\tx\tMP0\tmale\t24\n").encode(),
    ],
)
def test_a_broken_table_of_nemo_is_refused(tmp_path: Path, table: bytes) -> None:
    touch(tmp_path, "MP0_fear_3.wav")
    (tmp_path / "data.tsv").write_bytes(table)
    with pytest.raises(CorpusError):
        corpora.get("nemo").scan(tmp_path)


def test_nemo_without_its_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"no data\.tsv.*Copy it"):
        corpora.get("nemo").scan(touch(tmp_path, "MP0_fear_3.wav"))


@pytest.mark.parametrize(
    ("path", "label", "speaker", "attributes"),
    [
        ("OAF_Fear/OAF_back_fear.wav", "fearful", "OAF", {"age": "64", "word": "back"}),
        ("YAF_pleasant_surprised/YAF_goose_ps.wav", "surprised", "YAF", {"age": "26", "word": "goose"}),
        ("OAF_neutral/OA_bite_neutral.wav", "neutral", "OAF", {"age": "64", "word": "bite"}),
        ("OAF_angry/OAF_back_ANGRY.wav", "angry", "OAF", {"age": "64", "word": "back"}),
    ],
)
def test_tess(tmp_path: Path, path: str, label: str, speaker: str, attributes: dict[str, str]) -> None:
    assert only_clip("tess", tmp_path, path) == Clip(path, label, speaker, "female", attributes)


def test_the_misnamed_clip_of_tess_counts_once(tmp_path: Path) -> None:
    survey = corpora.get("tess").survey(touch(tmp_path, "a/OA_bite_neutral.wav", "b/OAF_bite_neutral.wav"))
    assert [clip.path for clip in survey.clips] == ["a/OA_bite_neutral.wav"]


@pytest.mark.parametrize(
    ("path", "label", "speaker", "name"),
    [
        ("AudioData/DC/a01.wav", "angry", "DC", "DC_a01"),
        ("ALL/KL_su15.wav", "surprised", "KL", "KL_su15"),
        ("JE/sa07.wav", "sad", "JE", "JE_sa07"),
        ("JK/n30.wav", "neutral", "JK", "JK_n30"),
        ("JK/d30.flac", "disgust", "JK", "JK_d30"),
        ("JK/f02.wav", "fearful", "JK", "JK_f02"),
        ("JK/h02.wav", "happy", "JK", "JK_h02"),
    ],
)
def test_savee(tmp_path: Path, path: str, label: str, speaker: str, name: str) -> None:
    clip = only_clip("savee", tmp_path, path)
    assert (clip.label, clip.speaker, clip.sex, clip.name) == (label, speaker, "male", name)


@pytest.mark.parametrize(
    ("path", "label", "speaker", "sex"),
    [
        ("wav/03a01Fa.wav", "happy", "03", "male"),
        ("wav/16b10Wb.wav", "angry", "16", "female"),
        ("wav/11a02Ac.wav", "fearful", "11", "male"),
        ("wav/08a02Tb.wav", "sad", "08", "female"),
        ("wav/09a01Ea.wav", "disgust", "09", "female"),
        ("wav/03a01Nc.wav", "neutral", "03", "male"),
    ],
)
def test_emodb(tmp_path: Path, path: str, label: str, speaker: str, sex: str) -> None:
    clip = only_clip("emodb", tmp_path, path)
    assert (clip.label, clip.speaker, clip.sex) == (label, speaker, sex)


def test_boredom_of_emodb_is_left_out_and_counted(tmp_path: Path) -> None:
    survey = corpora.get("emodb").survey(touch(tmp_path, "03a04Lc.wav", "03a01Fa.wav", "03a01Xa.wav"))
    assert [clip.label for clip in survey.clips] == ["happy"]
    assert survey.skipped == {"03a04Lc.wav": "boredom"}
    assert list(survey.unknown) == ["03a01Xa.wav"]


@pytest.mark.parametrize(
    ("path", "label", "speaker", "sex", "intensity"),
    [
        ("AudioWAV/1001_IEO_ANG_LO.wav", "angry", "1001", "male", "low"),
        ("AudioWAV/1002_IEO_HAP_MD.wav", "happy", "1002", "female", "medium"),
        ("AudioWAV/1091_IEO_DIS_HI.wav", "disgust", "1091", "female", "high"),
        ("AudioWAV/1040_ITH_SAD_X.wav", "sad", "1040", "male", "unspecified"),
        ("AudioMP3/1040_ITH_SAD_XX.mp3", "sad", "1040", "male", "unspecified"),
        ("AudioWAV/1050_DFA_FEA_XX.wav", "fearful", "1050", "male", "unspecified"),
        ("AudioWAV/1051_DFA_NEU_XX.wav", "neutral", "1051", "male", "unspecified"),
    ],
)
def test_cremad(tmp_path: Path, path: str, label: str, speaker: str, sex: str, intensity: str) -> None:
    clip = only_clip("cremad", tmp_path, path)
    assert (clip.label, clip.speaker, clip.sex) == (label, speaker, sex)
    assert clip.attributes["intensity"] == intensity


def test_cremad_has_48_men_and_43_women_and_lacks_twenty_clips() -> None:
    names = cremad.CORPUS.names
    assert len(cremad.WOMEN) == 43
    assert 91 * 82 - len(names) == 20
    assert not {"1002_TIE_NEU_XX", "1008_WSI_SAD_XX", "1009_MTI_ANG_XX", "1019_ITH_HAP_XX"} & names
    assert {"1040_ITH_SAD_XX", "1001_IEO_NEU_XX"} <= names


HASH = "7091a094ff2d4f47c0c3928ae7b49e1b96ccb31179fd40d4e3c92f10"
UNKNOWN = "d14a028c2a3a2bc9476102bb288234c415a2b01f828ea62ac5b3e42f"


@pytest.mark.parametrize(
    ("path", "label", "word", "environment"),
    [
        (f"webservice/go-safe-calm-1563249239746-{HASH}.wav", "calm", "go", "safe"),
        (f"bacho-glass break-angry-1563249239746-{HASH}.opus", "angry", "bacho", "glass break"),
        (f"House/help-gunshots-fearful-??-{HASH}.wav", "fearful", "help", "gunshots"),
        (f"unknown-safe-happy-1-{HASH}.wav", "happy", "unknown", "safe"),
    ],
)
def test_emospeech(tmp_path: Path, path: str, label: str, word: str, environment: str) -> None:
    attributes = {"word": word, "environment": environment}
    clip = only_clip("emospeech-in", tmp_path, path)
    assert clip == Clip(path, label, "7091a094ff2d", "unknown", attributes)


def test_emospeech_leaves_out_unknown_speakers_and_no_emotion(tmp_path: Path) -> None:
    kept = f"webservice/go-safe-calm-1-{HASH}.wav"
    unknown, silent = f"House/go-safe-calm-2-{UNKNOWN}.wav", f"Metro/background-safe-None-3-{UNKNOWN}.wav"
    survey = corpora.get("emospeech-in").survey(touch(tmp_path, kept, unknown, silent))
    assert [clip.path for clip in survey.clips] == [kept]
    assert survey.skipped == {unknown: "unknown speaker", silent: "no emotion"}


@pytest.mark.parametrize(
    ("path", "label", "speaker", "sex", "script", "sentence"),
    [
        ("emotional-to-emotional/nea/wav/nea00001.wav", "neutral", "nea", "female", "emotional", "1"),
        ("neo/neo00105.opus", "happy", "neo", "male", "emotional", "5"),
        ("plain-to-emotional/emb/wav/emb00203.wav", "angry", "emb", "female", "plain", "3"),
        ("emh00301.flac", "sad", "emh", "male", "plain", "1"),
        ("emf00100.wav", "neutral", "emf", "male", "plain", "100"),
        ("emf00400.wav", "sad", "emf", "male", "plain", "100"),
    ],
)
def test_emotiontts(
    tmp_path: Path, path: str, label: str, speaker: str, sex: str, script: str, sentence: str
) -> None:
    clip = only_clip("emotiontts-ko", tmp_path, path)
    assert (clip.label, clip.speaker, clip.sex) == (label, speaker, sex)
    assert clip.attributes == {"script": script, "sentence": sentence}


@pytest.mark.parametrize(
    ("path", "label", "speaker", "sex", "word"),
    [
        ("Sound Source/Angry/1157_kz_acik.wav", "angry", "1157", "male", "acik"),
        ("Calm/1234_sk_zeytin.opus", "calm", "1234", "female", "zeytin"),
        ("1358_mt_goz.flac", "happy", "1358", "male", "goz"),
        ("Sad/7895_hl_ogul1.wav", "sad", "7895", "female", "ogul"),
    ],
)
def test_turev_db(tmp_path: Path, path: str, label: str, speaker: str, sex: Sex, word: str) -> None:
    assert only_clip("turev-db", tmp_path, path) == Clip(path, label, speaker, sex, {"word": word})


def test_the_copies_that_the_authors_of_turev_db_tested_are_left_out(tmp_path: Path) -> None:
    clip = "Sound Source/Angry/1157_kz_beste.wav"
    copy = "Model Output for Test Data/testEmotions500HighPass/sound/Angry/1157_kz_beste.wav"
    survey = corpora.get("turev-db").survey(touch(tmp_path, clip, copy))
    assert [clip.path for clip in survey.clips] == [clip]
    assert survey.skipped == {copy: "copy for a test of the authors"}


@pytest.mark.parametrize(
    ("path", "label", "speaker", "sex", "intensity"),
    [
        ("03-01-01-01-02-03-01.opus", "happy", "01", "male", "normal"),
        ("Actor 34/03-01-02-01-02-03-34.wav", "sad", "34", "female", "normal"),
        ("03-01-03-02-02-03-12.wav", "angry", "12", "female", "strong"),
        ("03-01-04-02-02-03-31.wav", "surprised", "31", "male", "strong"),
        ("03-01-05-01-02-03-33.wav", "neutral", "33", "unknown", "normal"),
    ],
)
def test_banglaser(tmp_path: Path, path: str, label: str, speaker: str, sex: Sex, intensity: str) -> None:
    attributes = {"intensity": intensity, "statement": "02", "repetition": "03"}
    assert only_clip("banglaser", tmp_path, path) == Clip(path, label, speaker, sex, attributes)


def test_the_misnamed_clips_of_banglaser_are_published_ones_and_count_once(tmp_path: Path) -> None:
    odd, right = "01-01-04-02-03-01-15.wav", "03-01-04-02-03-01-15.wav"
    banglaser = corpora.get("banglaser")
    (clip,) = banglaser.scan(touch(tmp_path, odd))
    assert (clip.label, clip.speaker, banglaser.name_of(clip)) == ("surprised", "15", "03-01-04-02-03-01-15")
    assert banglaser.name_of(clip) in banglaser.names
    survey = banglaser.survey(touch(tmp_path, right))
    assert [clip.path for clip in survey.clips] == [odd]
    assert survey.skipped == {right: "second copy"}


@pytest.mark.parametrize(
    "name",
    [
        "01-01-04-02-03-01-14",  # only three names of actor 15 begin with 01
        "03-01-03-01-01-01-01",  # anger is strong
        "03-01-06-01-01-01-01",
        "03-01-01-01-04-01-01",
        "03-01-01-01-01-04-01",
        "03-01-01-01-01-01-35",
    ],
)
def test_a_name_that_banglaser_never_had_is_refused(name: str) -> None:
    parse = corpora.get("banglaser").parse
    assert parse
    with pytest.raises(CorpusError, match="Restore the published name"):
        parse(PurePosixPath(f"{name}.wav"))


@pytest.mark.parametrize(
    "name",
    [
        *("tess", "savee", "emodb", "cremad", "emospeech-in", "emotiontts-ko"),
        *("turev-db", "banglaser"),
    ],
)
@pytest.mark.parametrize(
    "path",
    [
        *("xyz.wav", "1092_IEO_ANG_LO.wav", "YAF_back_calm.wav", "DC/x01.wav", "04a01Fa.wav"),
        *("0001-01-1.mp3", "go-safe-sad-1-7091a094ff2d.wav", "ema00000.wav", "nea00401.wav", "emc00001.wav"),
        *("1158_kz_acik.wav", "1157_zk_acik.wav"),
    ],
)
def test_a_foreign_name_is_no_clip(name: str, path: str) -> None:
    parse = corpora.get(name).parse
    assert parse
    with pytest.raises(CorpusError, match="Restore the published name"):
        parse(PurePosixPath(path))


def test_folders_without_clips_are_refused_with_a_next_step(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    touch(tmp_path, "file", "tess/OAF_back_fear.wav")
    speech = corpora.get("ravdess")
    for folder, complaint in {
        "empty": "found no recording",
        "tess": "found 1 other recordings such as OAF_back_fear.wav",
        "absent": "does not exist",
        "file": "is not a folder",
    }.items():
        with pytest.raises(CorpusError, match=complaint) as caught:
            speech.scan(tmp_path / folder)
        assert "corpora download ravdess" in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser reads everything")
def test_a_folder_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "Actor_01/03-01-03-01-01-01-01.wav")
    (tmp_path / "Actor_01").chmod(0)
    try:
        with pytest.raises(CorpusError, match="cannot be read"):
            corpora.get("ravdess").scan(tmp_path)
    finally:
        (tmp_path / "Actor_01").chmod(0o755)


def test_odd_names_and_circular_links_do_no_harm(tmp_path: Path) -> None:
    touch(tmp_path, "03-01-03-01-01-01-01.wav", "new\nline.wav", "😀.wav")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.wav")).touch()
    (tmp_path / "circle").symlink_to(tmp_path)
    survey = corpora.get("ravdess").survey(tmp_path)
    assert [clip.path for clip in survey.clips] == ["03-01-03-01-01-01-01.wav"]
    assert len(survey.unknown) == 3


def test_an_unknown_corpus_is_refused() -> None:
    with pytest.raises(CorpusError, match=r"'iemocap'.*ravdess, ravdess-song, nemo"):
        corpora.get("iemocap")


def test_of_two_copies_the_one_without_loss_is_read_and_a_pointer_of_git_lfs_last(tmp_path: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 3\n"
    for name in ("AudioMP3/1001_DFA_ANG_XX.mp3", "AudioWAV/1001_DFA_ANG_XX.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"sound")
    survey = corpora.get("cremad").survey(tmp_path)
    assert [clip.path for clip in survey.clips] == ["AudioWAV/1001_DFA_ANG_XX.wav"]
    assert survey.skipped == {"AudioMP3/1001_DFA_ANG_XX.mp3": "second copy"}
    (tmp_path / "AudioWAV/1001_DFA_ANG_XX.wav").write_text(pointer)
    assert [clip.path for clip in corpora.get("cremad").scan(tmp_path)] == ["AudioMP3/1001_DFA_ANG_XX.mp3"]
    (tmp_path / "AudioMP3/1001_DFA_ANG_XX.mp3").unlink()
    damaged = check(corpora.get("cremad"), tmp_path).damaged
    assert "git lfs pull" in damaged["AudioWAV/1001_DFA_ANG_XX.wav"]
