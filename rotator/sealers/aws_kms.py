"""A key-encryption key in AWS KMS: `aws-kms:KEY`, where KEY is a key's id or ARN, or an alias.

GenerateDataKey and Decrypt, with the place of the value as encryption context: KMS authenticates it, and writes it into
CloudTrail, so an administrator sees which row was opened. Sources: the KMS API reference and developer guide.
"""

from __future__ import annotations

from datetime import timedelta

from rotator.access.aws import Access, AwsSettings, Declined
from rotator.domain.errors import RotatorError
from rotator.ports.sealer import DataKey, Place, tampered
from rotator.sealers.service import named, unusable

_REGION_OF_ARN = 3
_NOT_ITS_OWN = ("InvalidCiphertextException", "IncorrectKeyException")


class KmsSealer:
    """Implements `ports.sealer.Sealer`. `key` is what stands behind `aws-kms:`; an ARN says its region itself."""

    def __init__(self, key: str, settings: AwsSettings, timeout: timedelta) -> None:
        if key.startswith("arn:"):
            settings = settings.model_copy(update={"region": key.split(":")[_REGION_OF_ARN]})
        self.name = f"aws-kms:{key}"
        self.id = named(self.name)
        self._key = key
        self._access = Access(settings, timeout)

    def data_key(self, place: Place) -> DataKey:
        """GenerateDataKey."""
        try:
            answer = self._access.call(
                "kms",
                "GenerateDataKey",
                "CiphertextBlob",
                KeyId=self._key,
                KeySpec="AES_256",
                EncryptionContext=dict(place),
            )
        except Declined as problem:
            raise self._explained(problem) from None
        return DataKey(answer["Plaintext"], answer["CiphertextBlob"])

    def unwrap(self, wrapped: bytes, place: Place) -> bytes:
        """Decrypt, with this key and no other."""
        try:
            answer = self._access.call(
                "kms", "Decrypt", "Plaintext", KeyId=self._key, CiphertextBlob=wrapped, EncryptionContext=dict(place)
            )
        except Declined as problem:
            raise self._explained(problem) from None
        plain: bytes = answer["Plaintext"]
        return plain

    def close(self) -> None:
        """Close the connections."""
        self._access.close()

    def _explained(self, problem: Declined) -> RotatorError:
        if problem.code in _NOT_ITS_OWN:
            return tampered()
        remedy = "enable the key, cancel its deletion, or correct seal.key, seal.aws.region and seal.aws.account"
        return unusable(self.name, problem.message, remedy)
