"""Finds how bytes encode text, by content alone, and decodes streams in constant memory.

Headers of three Korean, Japanese or Chinese characters are the hard case: every legacy encoding can
read the others' bytes as *something*. Each candidate's reading is scored by how ordinary its
characters are; a wrong guess costs the name of the field, and with it the finding.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from functools import cache
from typing import BinaryIO

from scanner.model import Location, Problem
from scanner.readers import HEAD_BYTES
from scanner.readers.streams import read_upto

SAMPLE_BYTES = HEAD_BYTES
CHUNK_BYTES = 1 << 20
_CONTEXT_BYTES = 64  # of ASCII before the first other byte: the word that it is part of
_NOT_ASCII = re.compile(rb"[\x80-\xff]")
_SCORED_BYTES = 8_192  # of lines with bytes above 127; more only costs time

# What a text may hold: tab, line ends, vertical tab, form feed, ESC (ISO 2022), RS (RFC 7464)
_CONTROLS = bytes(b for b in range(32) if b not in b"\t\n\x0b\x0c\r\x1b\x1e") + b"\x7f"
_BOMS: tuple[tuple[bytes, str], ...] = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (b"\x84\x31\x95\x33", "gb18030"),
)

# The most ordinary characters of running text and of field names, in no order that matters
_KOREAN = frozenset(
    "이다의는에을가고하지한를사기도로대리자어일인으나시아스그정서해있수보부것전들제주장상과"
    "동여구국은생원신전화만중게면경성모공연유조세문당소안년비관와내때라니거적계요러오우무방분용실물"
    "발저행명회민선체력업음통교합간단진래였위재입권없법번터학마식말각직던결르트단치질양개품표속김최"
    "박강윤임신황남북천산광울종종호등록증사진얼굴안면지문홍채성별나이연령생년월일여권번호국적주민외국"
    "이름전자주소폰핸드메일비밀코드특징벡터점출입국심사체류자격인종족망막정맥장음걸유전처리목동철회"
    "만료담당부서직급사번이력기관파일경로이미지데영촬카매값순목록날짜시간구분내용비고여부상태등급"
    "출발도착편항공기록본인확인검색결식별코제공받는목적보유간회사원학생환자병진료과의약"
)
_CHINESE = frozenset(
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后"
    "作里用道行所然家种事成方多经么去法学如都同现当没动面起看定天分还进好小部其些主样理心她本前开但"
    "因只从想实日军者意无力它与长把机十民第公此已工使情明性知全三又关点正业外将两高间由问很最重并物"
    "手应战向头文体政美相见被利什二等产或新己制身果加西斯月话合回特代内信表化老给世位次度门任常先海"
    "通教儿原东声提立及比员解水名真论处走义各入几口认条平系气题活尔更别打女变四神总何电数安少报才结"
    "反受目太量再感建务做接必场件计管期市直德资命山金指克许统区保至队形社便空决治展马科司五基眼书非"
    "则听白却界达光放强即像难且权思王象完设式色路记南品住告类求据程北边死张该交规万取拉格望觉术领共"
    "确传师观清今切院让识候带导争运笔照片脸特征向量指纹掌虹膜视网声步态因姓名性别年龄民族籍护号码身"
    "份证件出生期地址电话邮箱编号类型状备注录时间图像文路径采集设备籍贯单位职务部门工号手机有效签发"
)
_TRADITIONAL = frozenset(
    "的一是不了在人有我他這個們中來上大為和國地到以說時要就出會可也你對生能而子那得於著下自之年過發後"
    "作裡用道行所然家種事成方多經麼去法學如都同現當沒動面起看定天分還進好小部其些主樣理心她本前開但"
    "因只從想實日軍者意無力它與長把機十民第公此已工使情明性知全三又關點正業外將兩高間由問很最重並物"
    "臉特徵向量指紋掌虹膜視網聲步態因姓名性別年齡民族籍護照號碼身份證件出生期地址電話編號照片國籍"
)
_JAPANESE = frozenset(
    "日一国人年大十二本中長出三時行見月分後前生五間上東四今金九入学高円子外八六下来気小七山話女北午百"
    "書先名川千水半男西電校語土木聞食車何南万毎白天母火右読友左休父雨会同事自社発者地業方新場員立開手"
    "力問代明動京目通言理体田主題意不作用度強公持野以思家世多正安院心界教文元重近考画海売知道集別物使"
    "品計死特私始朝運終台広住無真有口少町料工建空急止送切転研足究楽起着店病質待試族銀早映親験英医仕去"
    "味写字答夜音注帰古歌買悪図週室歩風紙黒花春赤青館屋色走秋夏習駅洋旅服夕借曜飲肉貸堂鳥飯勉冬昼茶弟"
    "牛魚兄犬妹姉漢政議民連対部合市内相定回選米実関決全表戦経最現調化当約首法性的要制治務成期取都和機"
    "平加受続進数記初指権支産点報済活原共得解交資予向際勝面告反判認参利組信在件側任引求所次昨論官増係"
    "感情投示変打直両式確果容必演歳争談能位置流格疑過局放常状球職与供役構割身費付由説難優夫収断石違消"
    "神番号規術備宅害配警席訪乗残想声念助労例然限追商葉伝働形景落好退頭負渡失差末守若種美命福望非観察"
    "段横深申様財港識呼達良候程満敗値突光路科積他処太客否師登易速存飛殺単座破除完降責捕危給苦迎園具辞"
    "顔写真氏名性別年齢国籍旅券番号在留指紋掌紋虹彩声紋歩容遺伝子特徴量住所電話生年月日種類状態登録更新"
)
_CYRILLIC = frozenset("оеаинтсрвлкмдпуяыьгз")
_ARABIC = frozenset("ايلمنرتبوسعدفهةجصشحكق_")


def _east_asian(
    ordinary: frozenset[str], table: str, levels: tuple[tuple[int, int, float], ...]
) -> dict[str, float]:
    """Score by character of a double-byte set: ordinary 2, else by the level in `table`."""
    scores: dict[str, float] = {}
    for first, last, score in levels:
        for lead in range(first, last + 1):
            for trail in range(0x40, 0xFF):
                try:
                    char = bytes((lead, trail)).decode(table)
                except UnicodeDecodeError:
                    continue
                if len(char) == 1:
                    scores[char] = score
    scores.update(dict.fromkeys(ordinary, 2.0))
    return scores


_KANA = frozenset(map(chr, [*range(0x3041, 0x3097), *range(0x30A1, 0x30FB), 0x30FC]))
_MARKS = frozenset(
    "、。「」『』・…（）［］【】〔〕：；，．！？％＆／＋－＝～〜〈〉《》“”‘’　￥①②③℃№★●○■□▲△→"
)


@cache
def _scores() -> dict[str, dict[str, float]]:
    """By encoding, the score of each character; built when it is first needed."""
    korean = _east_asian(_KOREAN, "euc_kr", ((0xB0, 0xC8, 0.7), (0xCA, 0xFD, 0.0)))
    chinese = _east_asian(_CHINESE, "gb2312", ((0xB0, 0xD7, 0.8), (0xD8, 0xF7, -0.4)))
    taiwan = _east_asian(_TRADITIONAL, "big5", ((0xA4, 0xC6, 0.8), (0xC9, 0xF9, -0.4)))
    japanese = _east_asian(_JAPANESE | _KANA, "euc_jp", ((0xB0, 0xCF, 0.8), (0xD0, 0xF4, -0.4)))
    for table in (korean, chinese, taiwan, japanese):
        for mark in _MARKS:
            table[mark] = 0.8
    return {
        "cp949": korean,
        "gb18030": chinese,
        "cp950": taiwan,
        "cp932": japanese,
        "euc_jp": japanese,
    }


def _score_double(text: str, table: dict[str, float]) -> float:
    total = 0.0
    for char in text:
        if char < "\x80":
            continue
        known = table.get(char)
        if known is not None:
            total += known
        elif char == "\ufffd" or "\ue000" <= char <= "\uf8ff" or char < "\xa0":
            total -= 4.0
        elif "\uff61" <= char <= "\uff9f":
            total -= 0.3  # half-width katakana: one byte each, so any byte above 0xA0 is one
        else:
            total -= 1.2
    return total


def _score_single(text: str, letters: str) -> float:
    """For one-byte sets: letters where letters stand, in the case in which letters come."""
    total = 0.0
    before = " "
    after_iter = iter(text[1:])
    for char in text:
        after = next(after_iter, " ")
        if char >= "\x80":
            if char == "\ufffd" or char < "\xa0":
                total -= 4.0
            elif not char.isalpha():
                alone = before < "\x80" and after < "\x80"
                total += 0.5 if alone and char in "°€£§©®«»¿¡–—‘’“”…·ºª×¥№" else -0.8
            elif letters == "latin":
                if char.isupper() and before.islower():
                    total -= 1.0
                elif before >= "\x80" or after >= "\x80":  # accents rarely come in pairs: "öß"
                    inside = char.islower() and (before + after).isalpha()
                    total += 0.25 if inside and (before < "\x80" or after < "\x80") else -0.6
                elif (before.isalpha() or after.isalpha()) and char not in "ðþÐÞýÝ":
                    total += 1.2
                else:
                    total -= 0.2
            elif letters == "cyrillic":
                if not "\u0400" <= char <= "\u04ff" or (char.isupper() and before.islower()):
                    total -= 1.0
                elif char.lower() in _CYRILLIC and (char.islower() or not before.islower()):
                    total += 0.9 if char.islower() else 0.7
                else:
                    total += 0.5
            elif "\u0600" <= char <= "\u06ff":
                total += 0.8 if char in _ARABIC else 0.2
            else:
                total -= 1.0
        before = char
    return total


_PAIR = re.compile(r"[^\x00-\x7f]{2}")  # no Korean word of one syllable is a name of a field
_WORD = re.compile(r"[^\W\d_]+")
_PLAIN_MARKS = frozenset(" \t\r\n.,;:!?\"'()-/_|@=<>")
_LEAST_WORDLIKE = 0.45  # text in the wrong one-byte set keeps above 0.5, pixels stay below 0.4
_SINGLE = {"cp1251": "cyrillic", "koi8_r": "cyrillic", "cp1256": "arabic", "cp1252": "latin"}


def _decode_sample(sample: bytes, encoding: str) -> str:
    if encoding == "ascii":  # a character at its end may be cut: it is left out
        encoding = "utf-8"
    return codecs.getincrementaldecoder(encoding)("replace").decode(sample, final=False)


def _legacy(sample: bytes) -> str:
    """The most plausible encoding of bytes that are not UTF-8 (latin-1 reads anything)."""
    chosen: list[bytes] = []
    size = 0
    for line in sample.splitlines(keepends=True):
        if line.isascii():
            continue
        chosen.append(line)
        size += len(line)
        if size >= _SCORED_BYTES:
            break
    lines = b"".join(chosen)[: 2 * _SCORED_BYTES]
    high = sum(b >= 0x80 for b in lines) or 1
    best, best_score = "latin-1", -1e9
    for encoding, table in _scores().items():
        score = _score_double(_decode_sample(lines, encoding), table)
        if score > best_score:
            best, best_score = encoding, score
    for encoding, letters in _SINGLE.items():
        score = _score_single(_decode_sample(lines, encoding), letters)
        if score > best_score:
            best, best_score = encoding, score
    if best_score / high >= 0.15:
        return best
    # Greek, Hebrew, Thai …: no field names are known there, so a general guess is enough
    from charset_normalizer import from_bytes

    guess = from_bytes(lines).best()
    if guess is not None and guess.encoding not in ("ascii", "utf_8") and guess.chaos < 0.2:
        return guess.encoding
    return "latin-1" if best_score < 0 else best


def _wordlike(text: str) -> float:
    """The share of characters that stand as in writing: words in one case, digits, punctuation.

    Pixels and samples read in a one-byte set are letters, too, but in no order: "яЮбЪ4щ".
    """
    good = sum(char.isdigit() or char in _PLAIN_MARKS for char in text)
    for word in _WORD.findall(text):
        cased = word.islower() or word.isupper() or word[1:].islower() or word[0] >= "\u0590"
        if cased and len(word) <= 30:
            good += len(word)
    return good / len(text)


def _wide(head: bytes) -> str | None:
    """UTF-16 or UTF-32 without a byte order mark: plausible text in exactly one byte order."""
    best: tuple[float, str] | None = None
    for encoding, width in (("utf-32-le", 4), ("utf-32-be", 4), ("utf-16-le", 2), ("utf-16-be", 2)):
        part = head[: 8_192 // width * width]
        part = part[: len(part) - len(part) % width]
        if len(part) < 2 * width:
            continue
        try:
            text = codecs.getincrementaldecoder(encoding)().decode(part, final=False)
        except UnicodeDecodeError:
            continue
        if not text:
            continue
        plain = sum(c in "\t\r\n" or " " <= c <= "~" for c in text)
        letters = sum(c >= "\xa0" and c.isalnum() and not "\uf900" <= c <= "\uffef" for c in text)
        bad = len(text) - plain - letters - sum(c in _MARKS for c in text)
        # The wrong order turns ASCII into U+2C00, U+0A00 …: no plain character is left
        if plain * 20 < len(text) or bad * 20 > len(text):
            continue
        # Words between zeros, not wide characters: no line end, space or delimiter is in place
        if part.isascii() and letters and not any(c in "\t\r\n ,;|" for c in text):
            continue
        score = plain / len(text) + (0.5 if width == 4 else 0.0)
        if best is None or score > best[0]:
            best = (score, encoding)
    return best[1] if best else None


def _korean_by_chance(head: bytes, text: str) -> bool:
    """A few Korean syllables in CP949 can be valid UTF-8: 홍채 (iris) reads as "ȫä"."""
    foreign = [c for c in text if c > "\x7f"]
    if len(foreign) > 12 or max(foreign) > "\u07ff" or not _PAIR.search(text):
        return False
    as_utf8 = max(_score_single(text, letters) for letters in ("latin", "cyrillic", "arabic"))
    as_korean = _score_double(_decode_sample(head, "cp949"), _scores()["cp949"])
    return as_utf8 < 0 and as_korean > 1.5 * len(foreign)


def detect(head: bytes) -> str | None:
    """Python's name of the encoding of the text that starts with `head`; None if this is not text.

    "ascii" means: not decided yet, nothing above 127 so far.
    """
    if not head:
        return None
    head = head[:SAMPLE_BYTES]
    for bom, encoding in _BOMS:
        if head.startswith(bom):
            text = _decode_sample(head, encoding)
            odd = sum(c == "\ufffd" or (c < " " and c not in "\t\r\n\x0b\x0c\x1b") for c in text)
            return encoding if odd * 50 <= len(text) else None
    nuls = head.count(0)
    if nuls and (encoding_ := _wide(head)):
        return encoding_
    controls = len(head) - len(head.translate(None, _CONTROLS))
    if nuls * 200 > len(head) or controls * 50 > len(head):
        return None
    if head.isascii():
        if b"\x1b$B" in head or b"\x1b$@" in head:
            return "iso2022_jp_2"
        return "iso2022_kr" if b"\x1b$)C" in head else "ascii"
    whole = len(head) < SAMPLE_BYTES
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head, final=whole)
    except UnicodeDecodeError:
        pass
    else:
        if text.isascii():  # all that is not is one character, cut where the sample ends
            return "ascii"
        return "cp949" if _korean_by_chance(head, text) else "utf-8"
    # UTF-8 with a few broken bytes is still UTF-8: legacy text forms valid sequences only by chance
    broken = _decode_sample(head, "utf-8")
    bad, good = broken.count("\ufffd"), sum(c > "\x7f" and c != "\ufffd" for c in broken)
    if good > 8 and bad * 10 < good:
        return "utf-8"
    encoding = _legacy(head)
    text = _decode_sample(head, encoding)
    odd = sum("\x7f" <= c <= "\x9f" or c == "\ufffd" for c in text)
    if odd * 25 > len(text) or (len(head) >= 64 and _wordlike(text) < _LEAST_WORDLIKE):
        return None
    return encoding


def _decide(before: bytes, chunk: bytes, following: bytes) -> str:
    """The encoding of a text that was ASCII up to somewhere in `chunk`, judged from there on."""
    text = before + chunk
    found = _NOT_ASCII.search(text)
    start = max(0, (found.start() if found else 0) - _CONTEXT_BYTES)
    sample = text[start : start + SAMPLE_BYTES]
    sample += following[: SAMPLE_BYTES - len(sample)]
    return detect(sample) or "latin-1"


def decode_head(head: bytes) -> str | None:
    """The text of `head` (a character cut at its end is left out); None if this is not text."""
    encoding = detect(head)
    return None if encoding is None else _decode_sample(head, encoding)


class Decoded:
    """The text of a stream, chunk by chunk; what does not decode is kept as `\\xNN` and counted."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._head = read_upto(stream, SAMPLE_BYTES)
        first = _NOT_ASCII.search(self._head)
        self.encoding = detect(self._head) or "latin-1"
        late = first is not None and first.start() > len(self._head) - _CONTEXT_BYTES
        if late and not self.whole and 0 not in self._head:
            self.encoding = "ascii"  # so few bytes say nothing: what follows decides
        self.undecodable = 0

    @property
    def head(self) -> str:
        return _decode_sample(self._head, self.encoding)

    @property
    def whole(self) -> bool:
        """Whether `head` is all there is."""
        return len(self._head) < SAMPLE_BYTES

    def __iter__(self) -> Iterator[str]:
        decoder: codecs.IncrementalDecoder | None = None
        before, chunk = b"", self._head
        while True:
            following = read_upto(self._stream, CHUNK_BYTES)
            final = not following
            if decoder is None and self.encoding == "ascii" and not chunk.isascii():
                self.encoding = _decide(before, chunk, following)
            if self.encoding == "ascii":
                text = chunk.decode("ascii")
            else:
                if decoder is None:
                    decoder = codecs.getincrementaldecoder(self.encoding)()
                text = self._decode(decoder, chunk, final)
            if text:
                yield text
            if final:
                return
            before, chunk = chunk[-_CONTEXT_BYTES:], following

    def _decode(self, decoder: codecs.IncrementalDecoder, chunk: bytes, final: bool) -> str:
        state = decoder.getstate()
        try:
            return decoder.decode(chunk, final)
        except UnicodeError:
            decoder.setstate(state)
            decoder.errors = "replace"
            replaced = decoder.decode(chunk, final)
            self.undecodable += replaced.count("\ufffd")
            decoder.setstate(state)
            decoder.errors = "backslashreplace"
            try:
                return decoder.decode(chunk, final)
            except (UnicodeError, TypeError):  # some codecs know no backslashes when decoding
                return replaced
            finally:
                decoder.errors = "strict"

    def problems(self, location: Location) -> Iterator[Problem]:
        """To be asked at the end: one Problem if some bytes did not decode."""
        if self.undecodable:
            detail = f"{self.undecodable} places do not decode as {self.encoding}"
            yield Problem(location, "malformed", detail)
