"""Notes and keys are those of C2SP signed-note and tlog-checkpoint."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable

import pytest

from rotator.domain.errors import SetupError
from rotator.domain.secret import Secret
from rotator.store.signing import Signer, new_seed
from rotator.verifier.notes import BadNote, Checkpoint, VerifierKey

# The example of Go's package sumdb/note, from which the specification grew.
NEUMANN = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
SAID = b"If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
SIGNED = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="

ROOT = bytes(range(32))


@pytest.fixture
def signer() -> Signer:
    return Signer(Secret(new_seed()), "keyturn/test")


def keys(*signers: Signer) -> list[VerifierKey]:
    return [VerifierKey.parse(signer.verifier_key) for signer in signers]


def test_a_key_and_a_signature_of_another_implementation_are_understood() -> None:
    key, signature = VerifierKey.parse(NEUMANN), base64.b64decode(SIGNED)
    assert signature[:4] == key.id
    assert key.signed(SAID, signature[4:])
    assert not key.signed(SAID + b" ", signature[4:])


def test_a_checkpoint_has_exactly_the_text_of_the_specification(signer: Signer) -> None:
    note = signer.checkpoint(41, ROOT)
    root = base64.b64encode(ROOT).decode()
    assert re.fullmatch(rf"keyturn/test\n41\n{re.escape(root)}\n\n— keyturn/test [A-Za-z0-9+/]{{90,}}=*\n", note)
    checkpoint = Checkpoint.parse(note)
    checkpoint.check(keys(signer))
    assert (checkpoint.origin, checkpoint.size, checkpoint.root) == ("keyturn/test", 41, ROOT)


def test_signatures_of_others_are_ignored_beside_ours(signer: Signer) -> None:
    witness = Signer(Secret(new_seed()), "keyturn/test")
    both = signer.checkpoint(41, ROOT) + witness.checkpoint(41, ROOT).splitlines(keepends=True)[-1]
    Checkpoint.parse(both).check(keys(signer))
    Checkpoint.parse(both).check(keys(witness))


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("another size", lambda note: note.replace("\n41\n", "\n40\n")),
        ("another origin", lambda note: note.replace("keyturn/test\n41", "keyturn/else\n41")),
        ("another root", lambda note: note.replace("AAEC", "AQEC")),
        ("a signature that was changed", lambda note: note[:-6] + ("A" if note[-6] != "A" else "B") + note[-5:]),
    ],
)
def test_a_changed_checkpoint_is_not_signed(signer: Signer, what: str, change: Callable[[str], str]) -> None:
    note = change(signer.checkpoint(41, ROOT))
    with pytest.raises(BadNote, match=r"signature is wrong"):
        Checkpoint.parse(note).check(keys(signer))
    assert what


def test_a_checkpoint_of_somebody_elses_key_is_not_signed(signer: Signer) -> None:
    other = Signer(Secret(new_seed()), "keyturn/test")
    with pytest.raises(BadNote, match="none of the keys"):
        Checkpoint.parse(signer.checkpoint(41, ROOT)).check(keys(other))


@pytest.mark.parametrize(
    "note",
    [
        "",
        "keyturn/test\n41\n",
        "keyturn/test\n41\nAAAA\n\n— keyturn/test AAAA\n",
        f"keyturn/test\n041\n{base64.b64encode(ROOT).decode()}\n\n— keyturn/test AAAA\n",
        f"keyturn/test\n41\n{base64.b64encode(ROOT).decode()}\n\n- keyturn/test AAAA\n",
        f"keyturn/test\n41\n{base64.b64encode(ROOT).decode()}\n\n— keyturn/test AAAA",
        f"keyturn/test\n41\n{base64.b64encode(ROOT).decode()}\n\n— keyturn/test A\n",
        f"keyturn/\x07test\n41\n{base64.b64encode(ROOT).decode()}\n\n— keyturn/test AAAA\n",
        f"\n41\n{base64.b64encode(ROOT).decode()}\n\n— keyturn/test AAAA\n",
    ],
)
def test_what_is_no_checkpoint_is_refused(note: str) -> None:
    with pytest.raises(BadNote):
        Checkpoint.parse(note)


@pytest.mark.parametrize(
    "text",
    ["", "keyturn/test", "a+00000000+AAAA", NEUMANN.replace("c74f20a3", "c74f20a4"), NEUMANN.replace("ARpc", "ARpd")],
)
def test_what_is_no_verifier_key_is_refused(text: str) -> None:
    with pytest.raises(BadNote):
        VerifierKey.parse(text)


@pytest.mark.parametrize("seed", ["", "AAAA", "not base64"])
def test_what_is_no_signing_key_is_refused_and_not_repeated(seed: str) -> None:
    with pytest.raises(SetupError) as caught:
        Signer(Secret(seed), "keyturn/test")
    assert caught.value.reason == "bad_signing_key"
    assert not seed or seed not in caught.value.message
