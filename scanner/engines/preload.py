"""Loads all that readers and detectors would load later, so that a locked-in worker needs no file.

Most is loaded by using it: tiny samples of the formats go through the looker. What only rare
content would ask for is named here, and the tests look for what is not. Nothing is left over that
runs: Landlock does not hold in a thread that is older than it.
"""

from __future__ import annotations

import base64
import encodings
import gzip
import importlib
import io
import lzma
import pkgutil
import struct
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import suppress

import pyarrow as pa
import zstandard
from pyarrow import ipc, parquet

from scanner import detectors, readers
from scanner.look import Looker
from scanner.model import Blob, Location, ReadOptions
from scanner.unloaded import keep_out

# Imported by functions that no sample comes to; of optional packages those that are there.
_LATE = (
    "PIL.ImageCms",
    "PIL.ImageColor",
    "PIL.ImageFilter",
    "PIL.MpoImagePlugin",
    "PIL.TiffImagePlugin",
    "array",  # socket.recv_fds
    "charset_normalizer",
    "numpy.ma",
    "pillow_heif",
    "scanner.engines.ranges",
    "scanner.stores.local",
)
# Of no text: they ask the system, need other modules, or refuse everything.
_NO_CODECS = frozenset({"idna", "mbcs", "oem", "punycode", "undefined"})

_FILES: Mapping[
    str, str
] = {  # the pictures are 40 by 4 pixels: flat ones cost the face model least
    "image/jpeg": (
        "|JeWF01!$>Nk#wx0RR9200961|KR{+MR;ju002!*04e|g00;mA0TKWM0000100sa6h$R37000010000c000000"
        "0IC300IC200K?`0000200jU500RI307L))00000009610096100IC20096100RI300IBu07PhXbZ|N^FK%-#VP"
        "tP&WiDfHZ7+CXa4#_~FfRZ+csh7(aBXFDVIX*IY;JQpcs(a!WN%_+I&O11ZDn*}FDEZP|JwjV02>k%7Zed27Zw"
        "*D92+1gLMtdGB`8rkJupIGRb^yfRb5+Zc$tA}agcLcU4^xVke;Kft*d8%yve$z$C;?Br2oJG3kU!N04M<g5di<"
        "h02KfM0RR910000000000000000{_GS6c7Ob00000000000000000030+5iXv0RR9$0FVd&*#"
    ),
    "image/png": (
        "iBL{Q4GJ0x0000DNk~Le0000e000040RsR40LEVLV*mgE15iv<MF0Q*r+Piw0000BNkl<Zc${NkzzzTa7ytp)f"
        "5hwn0000<MNUMnLSTX"
    ),
    "image/gif": ("M@dFFH(@9M1OR~m0C;$K000000000004x9i001Ze1ONaC7XSeW97wRB!Gj1BDqP60p~Hs|BOVM006P"),
    "image/webp": ("Qb|TeG5`PoS4BclR!}$~CIA2c&;kIR0V*f}1OPs5FqB55BO)Oxr~rTsiD>`;W4?d@{?Ir8000"),
    "image/avif": (
        "0000WW^{RQVRmU|00000VRmU|ZE0pPZE0a<O+hh20002%ZDn*}000000000XXk=`10000000000aA{+7000000"
        "000000000000004sdC7Z2$lO000310016oY;R)#0000)000310RR910RR926951JB>(^bC~0YKW&i*H0003100"
        "0_kZf0cy000000RRADb}%tRZ)|UJ00000YH4tCZ~y=ROKEUpZvX%Q6lrsCWdHyG00000C;$Ke1ONa45O8UDX#f"
        "BK00RgJ2mk;83}JRLLxBJc000006Ju{|a&BX6cmM$a4FCp!0000NX>e^}0000000001009I60)qqq001p*WMOm"
        "?0162h6ldBXA)wHJG8PoahlXVW2q2z80D$=YGo;%e4#O;f"
    ),
    "image/tiff": (
        "Nl7XI761SMc$}-K7zM)_003^i;Q<N&009F40RR91C;$Ke0RaO50RR911ONa40s#X60{{R3lmGw#0|5g70RR912"
        "mk;81_1*A0RR910ssI25dj1M0RR912mk;86#)YP0RR910{{R376AhQ0RR911ONa47XbtS0RR914gdfE903CW0R"
        "R910RR91000002mlBG2mk"
    ),
    "image/jp2": (
        "0000CYEU2`4GM<}0000KW^{RQYH%_j00000YH%_j0000jYH%`W0000MX=r3}000040000e00RdH0000001sntY"
        ";pkr000005C8xGq-t<7WB*V8Q2;Lh00000C;$Ke1ONa40000000000C;$Ke1ONa4000000009A0RaaA0S5sA|5"
        "5-90000100IOA00IA8017}rNJvmfNKpS|03`qcLvm$dbY)~9VtF7>aAj^vP(?=|c4cyNX>V>IGA=bPH2;tQ3IG"
        "5A001Tc0soW1@&gH8Kf&??30^<J@&gH8KY)OMfPjGi*#"
    ),
    "image/x-icon": (
        "000310RSij00000AOKDP000&M004<lPDc$28VUda01Zh<L{b0%04M+e00amE0001U^6Ga0000$9L_t(|oMWu0s"
        "9+cfz%(GXj!26EuVMjklOhAs00000NkvXXu0mjf"
    ),
    "image/heic": (
        "0000SW^{RQXk}?*00000ZE0pPXk}?*ZE0a<0004eZDn*}000000000XXk=`10000000000aA{+700000000000"
        "000000000B57=IV*mgE07O6l0RRC200001pa1~?00000001EX001LtX>Mi!000000RR916=`l}WdZ;I000310B"
        "Ck&F#rGn01j|zbZr0t000010002|X>f9I0002oX>en20001WXm(>m0RwOV0058x000009`FGC{rLC*01pFT009"
        "6PKmiN^|NjGU00093kN^M!000939=ZZRVE_RDDMA4O18@KU0|1Z!00RI30{|YNAb|yz>aLpR;31&EfB*mtfB*m"
        "k0EA)y0RRR>0l{;@i2wiq6Ju{|a&BX6cmM$a4FCp!0000KX>)L8000000000$0000$0000eV{Bn?0000e00001"
        "0000400001|NsB!00002|NsBQ000020000GaA|mH000000|*ER0000OX>e^}0000000001009Mo0s{qv0000fZ"
        "De6|0000TC;_ho5)usH_ykU4-l0?kfUM}WbfL(X5R<!Vzy"
    ),
    "application/x-tar": (
        "ABzY8!1@Af0{`vJF$%&!6a>&;dx||lSY=7hvqc0!BA69&e3vwWy@L2&Gs84fhqkr&tlW*I?Ag6%&d2H1_kEmBB"
        "~p$rc&x47`(^y6ny!~+PPcPv^VSXl0000000000z;Ad0lt6Mu04M+e"
    ),
}
_BMP = struct.pack("<2sIIIIiiHHIIiiII", b"BM", 534, 0, 54, 40, 40, 4, 1, 24, 0, 480, 0, 0, 0, 0)
_TEXTS: Mapping[str, bytes] = {
    "csv": b"name,passport,note\na,M12345678,x\nb,M23456789,y\n",
    # the backslash leads to our own parser instead of pyarrow's
    "odd csv": b'name,passport,note\na,M12345678,"so \\"called"\nb,M23456789,"x \\" y"\n',
    "json": b'{"people": [{"name": "a", "face": [0.5, 0.25]}, {"name": "b", "face": [1, 2]}]}',
    "jsonl": b'{"name": "a", "age": 1}\n{"name": "b", "age": 2}\n',
    "text": b"a line of text\nand another one, of 1990-01-01\n",
}


def preload(looker: Looker, options: ReadOptions) -> None:
    """Leave nothing to be loaded by `looker`, whatever it is given; call before `lock_down`.

    What the machine has not got (a codec, an optional decoder) is left out, as it would be later.
    A detector that fails here fails again on each object, and is reported there.
    """
    pa.enable_signal_handlers(False)  # its CSV parser would start a thread for them, which stays
    for package in (readers, detectors):
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{package.__name__}.{module.name}")
    for name in _LATE:
        with suppress(ImportError):
            importlib.import_module(name)
    for codec in pkgutil.iter_modules(encodings.__path__):
        if codec.name not in _NO_CODECS:
            with suppress(ImportError, LookupError):
                importlib.import_module(f"{encodings.__name__}.{codec.name}")
    for name, data in _samples():
        blob = Blob(Location(name), io.BytesIO(data), len(data))
        for _ in looker.look(blob, options):
            pass
        # pyarrow asks it whether a value is one of its own; half a second for a plain no. (After
        # the first sample, a picture: a face detector that needs it has got it by then.)
        keep_out("pandas")


def _samples() -> Iterator[tuple[str, bytes]]:
    for name, encoded in _FILES.items():
        yield name, base64.b85decode(encoded)
    yield "bmp", _BMP + bytes(480)
    yield "pnm", b"P5 40 4 255\n" + bytes(160)
    yield from _TEXTS.items()
    yield from _tables()
    text = _TEXTS["text"]
    yield "gz", gzip.compress(text)
    yield "xz", lzma.compress(text, preset=0)
    yield "zst", zstandard.compress(text)
    yield "zip", _zip(text)
    yield "unknown", bytes(range(256))


def _tables() -> Iterator[tuple[str, bytes]]:
    table = pa.table(
        {
            "name": pa.array(["a", "b", None]),
            "passport": pa.array(["M12345678", "", "x"]).dictionary_encode(),
            "born": pa.array([0, 1, None], pa.timestamp("s")),
            "photo": pa.array([b"a", b"", None], pa.binary()),
            "face": pa.array([[0.5, 0.25], [1.0, 2.0], None]),
            "count": pa.array([1, 2, 3]),
        }
    )
    file = io.BytesIO()
    parquet.write_table(table, file)
    yield "parquet", file.getvalue()
    file = io.BytesIO()
    with ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    yield "arrow", file.getvalue()


def _zip(text: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.txt", text, zipfile.ZIP_DEFLATED)
    return file.getvalue()
