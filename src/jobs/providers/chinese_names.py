"""Finds Chinese names offline: jieba's part of speech, who speaks, and how the text introduces people."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from ... import Fail
from .aliases import merged
from .characters import Character, Observations, added
from .surnames import is_full_name, surname_of

NAME = "jieba-local"
COMMON_WORD_FREQUENCY = 50  # in jieba's dictionary; a commoner word that is no name there is none here
SPOKEN = 1  # times that somebody with a family name must have spoken
SPOKEN_WITHOUT_SURNAME = 5
SEEN = 3

_HAN = r"[\u4e00-\u9fff〇]"
_MANNER = (
    "仰天|拱手|起身|厉声|高声|低声|连忙|急忙|大声|沉声|冷冷|淡淡|轻声|微微|缓缓|忍不住|"
    "大呼|大叫|[大乃亦又遂急便即忽慌忙冷苦微轻笑怒问答叹喜惊告谏喝叫骂泣哭奏呼谢拜回应叱闻低密点头摇嗤怪地着]"
)
_SPEECH = re.compile(rf"(?<!{_HAN})({_HAN}{{2,10}}?)(?:{_MANNER})*+(?:而|之)?(?:曰|道|说|說|云)(?=[：:，,。“「『‘\"])")
_MANNER_TAIL = re.compile(rf"(?:{_MANNER}|而|之)+$")
_INTRODUCTION = re.compile(rf"姓({_HAN}{{1,2}})，?名({_HAN}{{1,2}})，?表?字({_HAN}{{2}})(?:，后改({_HAN}{{2}}))?")
_COURTESY = re.compile(rf"({_HAN}{{1,4}})，?(?:表|小)?字({_HAN}{{2}})(?=[，。；：！、）])")

_RELATIVES = frozenset("父母子女兄弟姊妹叔侄")  # 其父名肃 is somebody else than the 肃 of the chapter

# What a segmenter glues to a name's end, and ends that make a rank, a group or a thing of a name.
_GLUED = frozenset("曰道笑怒问答谓闻见引率领令使入出乃亦急忽遂又便即大自与望视言告叱喝叹喜惊听曾已在之不是将从为谏奏回")
_NO_NAME_ENDS = frozenset("兵军主王帝后侯将官士者臣等人众卒民马曰诗令使报氏某家营寨城州郡县国府山水江河关门略声")
_NO_NAME_STARTS = frozenset("诸众群各二两三四五六七八九十一其此那这汝吾我你他她彼某有只又却且忽正后前左右")


class ChineseNames:
    """Names of two to four characters.

    A name counts when it begins with a family name and its bearer speaks, when the text introduces it (姓…名…
    字…), or, without a family name, when it speaks often and is no common word. Persons mentioned by their
    given name's single character alone (操曰) are not counted there.
    """

    name = NAME

    def __init__(self) -> None:
        self._tagger = _tagger()

    def observe(self, text: str) -> Observations:
        seen = Observations()
        for word in self._tagged_names(text):
            seen.add(word, "tagged")
        for match in _SPEECH.finditer(text):
            speaker = _MANNER_TAIL.sub("", match[1])
            if 2 <= len(speaker) <= 4 and not self._is_common(speaker):
                seen.add(speaker, "spoken")
        seen.introductions.extend(_introductions(text, seen))
        return seen

    def decide(self, observations: Sequence[Observations]) -> list[Character]:
        total = added(observations)
        introduced = {who for who, _ in total.introductions if is_full_name(who)}
        seen = {name: sum(kinds.values()) for name, kinds in total.evidence.items()}
        names = {name for name, kinds in total.evidence.items() if _is_name(name, kinds)} | introduced
        courtesy = {other for _, other in total.introductions}
        weights = {
            name: seen.get(name, 0)
            for name in names
            if name in introduced or not _is_more_than_a_name(name, names, courtesy, seen)
        }
        return merged(weights, total.introductions)

    def _tagged_names(self, text: str) -> Iterator[str]:
        for token in self._tagger.cut(text, HMM=False):
            if token.flag.startswith("nr"):
                name = token.word
                while len(name) > 2 and name[-1] in _GLUED:
                    name = name[:-1]
                if 2 <= len(name) <= 4 and (name == token.word or not self._is_common(name)):
                    yield name

    def _is_common(self, word: str) -> bool:
        tag = self._tagger.word_tag_tab.get(word, "x")
        return not tag.startswith("nr") and (self._tagger.tokenizer.FREQ.get(word) or 0) >= COMMON_WORD_FREQUENCY


def _introductions(text: str, seen: Observations) -> Iterator[tuple[str, str]]:
    """(who, courtesy name), where `who` ends with a full name: 姓刘名备字玄德, 马超，字孟起, 懿字仲达."""
    told: set[int] = set()
    for match in _INTRODUCTION.finditer(text):
        surname, given, courtesy, later = match.groups()
        told.add(match.end(3))
        yield surname + given, courtesy
        if later:
            yield surname + given, later
    for match in _COURTESY.finditer(text):
        who, courtesy = match.groups()
        if match.end(2) in told:
            continue
        if len(who) == 1 or who[-2] == "名":
            who = "" if _RELATIVES & set(who[:-2]) else _bearer(who[-1], seen)
        if who:
            yield who, courtesy


def _bearer(given: str, seen: Observations) -> str:
    """The full name with this given name that the section has most; a chapter calls its people so."""
    bearers = [name for name in seen.evidence if is_full_name(name) and name.removeprefix(surname_of(name)) == given]
    return max(bearers, key=lambda name: (sum(seen.evidence[name].values()), name), default="")


def _is_name(name: str, kinds: dict[str, int]) -> bool:
    spoken, tagged = kinds.get("spoken", 0), kinds.get("tagged", 0)
    if spoken + tagged < SEEN or name[-1] in _NO_NAME_ENDS:
        return False
    if is_full_name(name):
        if name.removeprefix(surname_of(name))[0] in _GLUED:
            return False
        return spoken >= SPOKEN or (len(surname_of(name)) == 2 and tagged >= SEEN)
    return len(name) <= 3 and spoken >= SPOKEN_WITHOUT_SURNAME and name[0] not in _NO_NAME_STARTS


def _is_more_than_a_name(name: str, names: set[str], courtesy: set[str], seen: dict[str, int]) -> bool:
    """A name with a verb behind it (孔明劝) or a rank before it (司徒王允), not one like 张翼德 beside 张翼."""
    if name.removeprefix(surname_of(name)) in courtesy:
        return False
    heads = (name[:length] for length in range(2, len(name)))
    glued = any(head in names and seen.get(head, 0) > seen.get(name, 0) for head in heads)
    return glued or any(name[start:] in names and is_full_name(name[start:]) for start in range(1, len(name) - 1))


_lock = threading.Lock()
_made_tagger: Any = None


def _tagger() -> Any:
    """jieba's tagger, made once a process: its dictionary takes a second and 50 to 100 MB."""
    global _made_tagger
    with _lock:
        if _made_tagger is None:
            _made_tagger = _make_tagger()
        return _made_tagger


def _make_tagger() -> Any:
    import warnings

    try:
        with warnings.catch_warnings():  # jieba asks setuptools for its files in a way that has been deprecated
            warnings.simplefilter("ignore")
            import jieba
            import jieba.posseg
    except ModuleNotFoundError:
        raise Fail("Chinese names need jieba: pip install 'workerctl[content]'") from None
    tokenizer = jieba.Tokenizer()
    # Not initialize(): it would trust a cache file in the machine's common temp folder, and is no faster.
    tokenizer.FREQ, tokenizer.total = tokenizer.gen_pfdict(tokenizer.get_dict_file())
    tokenizer.initialized = True
    tagger = jieba.posseg.POSTokenizer(tokenizer)
    tagger.initialize()
    return tagger
