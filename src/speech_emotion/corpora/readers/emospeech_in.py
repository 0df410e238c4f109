"""Indian EmoSpeech Commands, single words. In: webservice/go-safe-calm-TIME-HASH.wav. Out: label, speaker, word.

Banga et al. 2019, https://arxiv.org/abs/1910.13801, version 0.1. A name holds word, environment, emotion, time and
a hash of the speaker, whose first twelve digits are the speaker here. Clips of the one hash that stands for unknown
people, and clips without an emotion, are left out and counted. The labels are noisy; the sex is not published.
"""

import re
from pathlib import PurePosixPath
from typing import Final

from speech_emotion.corpora.manifest import Clip, Corpus, Skipped, unexpected_name

EMOTIONS: Final = ("angry", "calm", "fearful", "happy")
UNKNOWN: Final = "d14a028c2a3a"  # the hash that "represents unknown user"
_NO_EMOTION: Final = "None"
_N_DIGITS: Final = 12  # of the hash: enough to tell the speakers apart
_NAME: Final = re.compile(rf"([a-z]+)-([a-z ]+)-({'|'.join(EMOTIONS)}|{_NO_EMOTION})-[^-]+-([0-9a-f]{{56}})")
# Published clips per speaker, in the order of EMOTIONS.
_COUNTS: Final = """
00da85638119:0,0,1,0 016294ed2395:2,5,0,3 02dc401328f0:7,1,1,7 02fc4ae7d2e5:0,2,3,0 04e398ad506f:1,7,6,0
06ea3df2f7a1:0,1,0,0 0702dea2a731:1,7,3,3 0e17afa39fc0:25,23,24,23 118f6d896dc3:0,0,1,0
1cfb3698acaf:0,12,0,0 22527b219286:0,1,0,0 26febca233e4:4,4,4,4 2ad117a094db:2,1,1,3
2bbcd87677de:12,8,9,12 2dab836c2645:1,0,0,2 30cff6560071:4,4,2,4 31bb50381816:0,3,0,3 31f9f30edc42:8,2,1,0
340a803168cb:18,16,10,9 342ed73c4694:7,0,5,2 37b2fd059207:0,1,0,1 38ec51a1b2fa:6,5,6,6
39196b80e367:6,3,0,2 3d9d3e0eb86e:0,0,1,0 3daf85d4387b:2,1,0,1 4088f97b23f4:0,0,2,0 429239236492:3,6,4,3
432b2a95e1b1:1,0,0,0 436c368fa14a:3,4,0,3 4711544a4ad2:1,0,0,0 4b3d0bf69428:2,6,1,4 4e520c6f92b9:11,5,4,16
4fb5bdfcd861:0,0,1,0 50a73d27faaf:2,0,2,1 57eadfd6b28d:8,14,12,17 5b146d738589:0,0,1,2
5dcce36ff720:1,8,0,7 5e6d4c136a97:1,0,0,0 5f5a82d5085e:3,10,7,5 61da3711fc5f:29,51,17,15
6602b16bae17:2,8,6,3 6bbc0e89a16f:4,5,1,5 6bff1668e3bb:3,5,7,8 7091a094ff2d:3,4,4,4 718bb766e0ca:4,5,1,1
74333d3719dc:3,5,2,5 78ff5332e0b2:0,8,1,0 7aae46943e48:5,5,5,6 7e7a3a8dd81b:0,1,2,0
837e41c87515:16,21,21,3 8403b9000718:8,1,2,1 8679e56fb16c:0,1,0,0 879f4015c54a:3,3,0,0
88db4709d85e:5,3,2,1 8a21da1cbc1e:1,3,0,1 8a7a2e491f46:0,0,0,1 8d09198c392b:0,1,0,0 9014f38f8ba9:0,4,0,0
91193322efce:1,1,0,1 93e68222b501:5,6,1,2 97ce11ca5bcd:9,11,4,6 98773607ecb2:0,0,0,1 98cd298771f8:1,0,1,1
98f394bd19a4:0,7,2,0 99467a5e6b77:3,0,5,8 9aa7e4f3c223:3,6,0,2 9d2599285817:1,4,0,4
9dd2014cc6e9:29,181,73,16 9dea20651dd2:5,8,8,7 9f0faa2dcb5a:1,0,0,1 a871aa647b56:6,7,6,9
aeb6442fca3f:11,4,1,4 b0303d3351c4:0,0,2,0 b17253622ed6:0,2,0,0 b4e2909285e9:0,0,1,0
b85700a6727e:24,18,25,22 b8dfe36d8eca:0,0,1,0 ba77be3eb5d4:1,2,1,3 bca5c3e3f951:0,1,0,0
be5d8177fbf5:1,0,0,0 bfbfa2884ace:6,7,10,11 c024af8c2d84:2,5,4,3 c075fd686af8:9,11,2,2
c136e396a60f:5,2,4,0 c37be7fb62c2:3,9,4,9 c615874e25e9:1,1,0,0 c6b4400c611a:0,1,0,0 c7b431195e28:6,10,5,12
c8c0a638a2aa:5,7,3,2 cc23c51319ea:7,6,2,7 cda10b7b1e1e:2,7,3,5 cf902c4db577:1,11,8,1 d1294a562db0:7,6,4,4
d2f5206d622c:2,16,5,7 d419976688c4:3,7,2,2 d6ef33412a1c:7,9,0,0 d897ac28460d:6,5,6,6 d8fc57881913:6,8,6,4
da09e319f8f8:17,7,5,10 e2eb756626da:0,2,6,2 eaae595306df:1,8,10,0 ec2301df0df6:15,15,3,6
ec79da618f8c:3,8,4,0 f1a08e722cc4:6,15,3,12 fda31b2be41d:6,14,9,0
"""


def _parse(path: PurePosixPath) -> Clip | Skipped:
    parts = _NAME.fullmatch(path.stem)
    if parts is None:
        raise unexpected_name(
            path,
            f"word-environment-emotion-time-hash with the emotion {', '.join(EMOTIONS)} or {_NO_EMOTION} "
            "and a hash of 56 digits",
        )
    word, environment, emotion, digits = parts.groups()
    speaker = digits[:_N_DIGITS]
    if emotion == _NO_EMOTION:
        return Skipped("no emotion")
    if speaker == UNKNOWN:
        return Skipped("unknown speaker")
    return Clip(str(path), emotion, speaker, "unknown", {"word": word, "environment": environment})


CORPUS: Final = Corpus(
    name="emospeech-in",
    title="Indian EmoSpeech Commands",
    language="Hindi, English",
    licence="CC BY-NC-SA 4.0",
    citation=(
        "Banga S, Upadhyay U, Agarwal P, Sharma A, Mukherjee P (2019). Indian EmoSpeech Command Dataset: A dataset "
        "for emotion based speech recognition in the wild. https://arxiv.org/abs/1910.13801"
    ),
    homepage="https://github.com/RakshakTeam/emospeech-dataset-v1",
    how_to_get="Get it with: git clone https://github.com/RakshakTeam/emospeech-dataset-v1",
    example="webservice/go-safe-calm-1563249239746-7091a094ff2d4f47c0c3928ae7b49e1b96ccb31179fd40d4e3c92f10.wav",
    parse=_parse,
    counts={
        (speaker, label): int(n)
        for speaker, counts in (row.split(":") for row in _COUNTS.split())
        for label, n in zip(EMOTIONS, counts.split(","), strict=True)
        if n != "0"
    },
)
