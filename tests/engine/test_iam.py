"""IAM's two slots, its lost answers without labels, and its reversible disable, on moto with authentication on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest

from rotator.domain.model import Cause
from rotator.engine import adoption, operator
from rotator.testbed.aws import Aws, AwsKey
from rotator.testbed.gate import Gate, Lose, Request
from tests.engine.place import Consumer, Place


def is_create(request: Request) -> bool:
    return b"Action=CreateAccessKey" in request.body


class Deployer:
    """The credential `deployer`: an IAM user's key in one secret of Secrets Manager, with a sibling field."""

    def __init__(self, place: Place, aws: Aws, gate: Gate) -> None:
        self.place = place
        self.aws = aws
        self.gate = gate
        self.user = f"ci-{uuid4().hex[:10]}"
        self.secret = f"engine/{self.user}"
        self.iam = aws.client("iam")
        self.iam.create_user(UserName=self.user)
        self.manager = aws.client("secretsmanager")
        self.manager.create_secret(Name=self.secret, SecretString=json.dumps({"REGION": "eu-west-1"}))
        (place.folder / "id").write_text(aws.root.access_key_id)
        (place.folder / "secret").write_text(aws.root.secret_access_key)
        place.policy |= {"settle": "0s"}
        self.write()

    def write(self, **policy: Any) -> None:
        ours = {"access_key_id": "file:id", "secret_access_key": "file:secret", "region": self.aws.region}
        self.place.write(
            providers={"aws": {"type": "aws-iam", **ours, "endpoint_url": self.gate.url, "account": self.aws.account}},
            destinations={"sm": {"type": "aws-secrets-manager", **ours, "endpoint_url": self.aws.url}},
            credentials={
                "deployer": {
                    "provider": "aws",
                    "options": {"user": self.user},
                    "policy": policy,
                    "destinations": [{"to": "sm", "path": self.secret}],
                }
            },
        )

    def listed(self) -> dict[str, str]:
        """Key id → status."""
        listed = self.iam.list_access_keys(UserName=self.user)["AccessKeyMetadata"]
        return {key["AccessKeyId"]: key["Status"] for key in listed}

    def body(self) -> dict[str, str]:
        """What a consumer reads."""
        answer = self.manager.get_secret_value(SecretId=self.secret, VersionStage="AWSCURRENT")
        found: dict[str, str] = json.loads(answer["SecretString"])
        return found

    def works(self) -> bool | None:
        """A consumer's request with what it reads."""
        body = self.body()
        if "AWS_ACCESS_KEY_ID" not in body:
            return None
        sts = self.aws.client("sts", AwsKey(body["AWS_ACCESS_KEY_ID"], body["AWS_SECRET_ACCESS_KEY"]))
        try:
            sts.get_caller_identity()
        except sts.exceptions.ClientError:
            return False
        finally:
            sts.close()
        return self.listed().get(body["AWS_ACCESS_KEY_ID"]) == "Active"

    def by_hand(self) -> str:
        """A key that a person makes."""
        made: str = self.iam.create_access_key(UserName=self.user)["AccessKey"]["AccessKeyId"]
        return made


@pytest.fixture
def deployer(embedded: Place, aws: Aws, gate_to: Callable[[str], Gate]) -> Iterator[Deployer]:
    found = Deployer(embedded, aws, gate_to(aws.url))
    yield found
    found.iam.close()
    found.manager.close()


def test_a_key_pair_is_replaced_disabled_and_deleted_and_the_sibling_field_stays(deployer: Deployer) -> None:
    deployer.place.rotate(patience=10)
    old = next(iter(deployer.listed()))
    with Consumer([deployer.works]) as consumer:
        assert deployer.place.rotate("deployer", now=True, patience=10)["deployer"].completed
        deployer.place.rotate(patience=5)
    assert consumer.dead == 0
    assert old not in deployer.listed()
    assert list(deployer.listed().values()) == ["Active"]
    assert deployer.body()["REGION"] == "eu-west-1"
    told = deployer.place.told("disable.succeeded", "delete.succeeded")
    assert told == ["disable.succeeded", "delete.succeeded"]
    deployer.place.verified()


def test_a_disabled_key_soaks_before_it_is_deleted(deployer: Deployer) -> None:
    deployer.write(soak="1h")
    deployer.place.rotate(patience=10)
    old = next(iter(deployer.listed()))
    deployer.place.rotate("deployer", now=True, patience=10)
    deployer.place.rotate(patience=5)
    assert deployer.listed()[old] == "Inactive"
    status = deployer.place.status("deployer")
    assert (status["status"], status["previous"][0]["state"], status["previous"][0]["step"]) == (
        "retiring",
        "disabled",
        "delete",
    )


def test_now_refuses_while_our_own_old_key_takes_the_slot(deployer: Deployer) -> None:
    deployer.write(soak="1h")
    deployer.place.rotate(patience=10)
    deployer.place.rotate("deployer", now=True, patience=10)
    deployer.place.rotate(patience=5)
    before = deployer.listed()
    result = deployer.place.rotate("deployer", now=True, patience=2)["deployer"]
    assert not result.completed
    assert result.rotation is None
    assert getattr(result.decision, "reason", None) == "slot_in_retirement"
    assert deployer.listed() == before


def test_a_dead_key_whose_successor_has_no_slot_is_told_with_the_key_in_the_way_and_the_way_back(
    deployer: Deployer,
) -> None:
    deployer.write(soak="1h")
    deployer.place.rotate(patience=10)
    deployer.place.rotate("deployer", now=True, patience=10)
    deployer.place.rotate(patience=5)
    deployer.iam.delete_access_key(UserName=deployer.user, AccessKeyId=deployer.body()["AWS_ACCESS_KEY_ID"])
    stranger = deployer.by_hand()
    deployer.place.rotate("deployer", now=True, end_soak=True, patience=3)
    status = deployer.place.status("deployer")
    blocked = next(row for row in status["conditions"] if row["reason"] == "slot_full")
    assert stranger in blocked["message"]
    assert "`rotator rollback deployer`" in deployer.place.explain("deployer")


def test_a_leak_ends_the_soak_of_our_own_disabled_key(deployer: Deployer) -> None:
    deployer.write(soak="1h", grace="1h")
    deployer.place.rotate(patience=10)
    deployer.place.rotate("deployer", now=True, patience=10)
    with Consumer([deployer.works]) as consumer:
        result = deployer.place.rotate("deployer", now=True, cause=Cause.COMPROMISED, patience=20)["deployer"]
    assert consumer.dead == 0
    assert result.completed
    body = deployer.body()
    assert deployer.listed()[body["AWS_ACCESS_KEY_ID"]] == "Active"
    assert sorted(deployer.listed().values()) == ["Active", "Inactive"]


def test_full_slots_stop_before_anything_is_made_and_name_the_key_in_the_way(deployer: Deployer) -> None:
    deployer.place.rotate(patience=10)
    stranger = deployer.by_hand()
    before = deployer.listed()
    assert not deployer.place.rotate("deployer", now=True, patience=3)["deployer"].completed
    status = deployer.place.status("deployer")
    assert (status["status"], status["reason"]) == ("blocked", "slot_full")
    assert stranger in status["message"]
    assert "adopt deployer --key" in status["remedy"]
    assert deployer.listed() == before
    assert not [r for r in deployer.gate.requests if is_create(r)][1:]


def test_the_stranger_in_the_way_can_be_adopted_into_retirement(deployer: Deployer) -> None:
    deployer.place.rotate(patience=10)
    stranger = deployer.by_hand()
    with deployer.place.service() as service, service.running().hold("deployer") as work:
        adoption.adopt_previous(work, adoption.extra_key(work, stranger))
    deployer.place.rotate(patience=5)
    assert stranger not in deployer.listed()
    assert deployer.works() is True


def test_the_lost_key_is_disabled_first_then_deleted_and_a_new_one_made(deployer: Deployer) -> None:
    deployer.place.rotate(patience=10)
    deployer.gate.on(is_create, Lose())
    assert deployer.place.rotate("deployer", now=True, patience=20)["deployer"].completed
    deployer.place.rotate(patience=5)
    assert len(deployer.listed()) == 1
    assert deployer.works() is True
    lost = [e for e in deployer.place.events if e["event"] in ("condemn.succeeded", "disable.succeeded")]
    assert [e["event"] for e in lost[:2]] == ["condemn.succeeded", "disable.succeeded"]
    creates = [r for r in deployer.gate.requests if is_create(r)]
    assert len(creates) == 3
    deployer.place.verified()


def test_two_unknown_keys_of_that_moment_are_for_a_person_to_tell_apart(deployer: Deployer) -> None:
    deployer.gate.on(is_create, Lose())
    deployer.place.rotate(patience=0.1)
    stranger = deployer.by_hand()
    deployer.place.rotate(patience=4)
    status = deployer.place.status("deployer")
    assert (status["status"], status["reason"]) == ("blocked", "ambiguous_keys")
    assert all(key in status["message"] for key in deployer.listed())
    assert len(deployer.listed()) == 2
    with deployer.place.service() as service, service.running().hold("deployer") as work:
        operator.resume(work, keep=[stranger])
    deployer.place.rotate(patience=8)
    assert stranger in deployer.listed()
    assert deployer.works() is True
    assert len(deployer.listed()) == 2


def test_a_key_that_a_person_made_later_is_left_alone(deployer: Deployer) -> None:
    deployer.place.rotate(patience=10)
    deployer.gate.on(is_create, Lose())
    deployer.place.rotate("deployer", now=True, patience=20)
    deployer.place.rotate(patience=5)
    stranger = deployer.by_hand()
    deployer.place.rotate(patience=3)
    assert stranger in deployer.listed()


def test_another_account_than_the_pinned_one_stops_everything(deployer: Deployer) -> None:
    deployer.place.rotate(patience=10)
    text = deployer.place.file.read_text().replace(deployer.aws.account, "999999999999")
    deployer.place.file.write_text(text)
    before = deployer.listed()
    assert not deployer.place.rotate("deployer", now=True, patience=2)["deployer"].completed
    status = deployer.place.status("deployer")
    assert (status["status"], status["reason"]) == ("blocked", "wrong_account")
    assert deployer.listed() == before


def test_use_by_somebody_else_holds_the_retirement_until_it_ends(deployer: Deployer) -> None:
    deployer.write(require_idle="3s", grace="3s")
    deployer.place.rotate(patience=10)
    allow = {"Effect": "Allow", "Action": "iam:*", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    deployer.iam.put_user_policy(UserName=deployer.user, PolicyName="use", PolicyDocument=document)
    body = deployer.body()
    forgotten = deployer.aws.client("iam", AwsKey(body["AWS_ACCESS_KEY_ID"], body["AWS_SECRET_ACCESS_KEY"]))

    def use() -> bool:
        forgotten.list_access_keys(UserName=deployer.user)
        return True

    deployer.place.rotate("deployer", now=True, patience=10)
    with Consumer([use]):
        deployer.place.rotate(patience=6)
        assert body["AWS_ACCESS_KEY_ID"] in deployer.listed()
        assert "was last used by iam in us-east-1 at 2" in deployer.place.explain("deployer")
        assert deployer.place.status("deployer")["status"] == "retiring"
    deployer.place.rotate(patience=10)
    assert body["AWS_ACCESS_KEY_ID"] not in deployer.listed()
    forgotten.close()


def test_half_a_key_that_may_be_overwritten_is_still_half_a_key(deployer: Deployer) -> None:
    deployer.place.rotate(patience=10)
    old = next(iter(deployer.listed()))
    half = {name: value for name, value in deployer.body().items() if name != "AWS_ACCESS_KEY_ID"}
    deployer.manager.put_secret_value(SecretId=deployer.secret, SecretString=json.dumps(half))
    with deployer.place.service() as service, service.running().hold("deployer") as work:
        notes = adoption.allow_replacing(work, ["sm"], "it is in the way")
        kept = {
            p.field: p.version_id is not None
            for p in service.store.placed(work.managed.targets[0].destination.identity).values()
        }
    assert "may be overwritten by the next rotation" in notes[0]
    assert kept == {"AWS_ACCESS_KEY_ID": False, "AWS_SECRET_ACCESS_KEY": True}
    deployer.secret += "-elsewhere"
    deployer.manager.create_secret(Name=deployer.secret, SecretString="{}")
    deployer.write()  # the old place is not in the configuration any more, and a person may mend it
    deployer.place.rotate("deployer", now=True, patience=10)
    deployer.place.rotate(patience=5)
    assert deployer.listed()[old] == "Active"
    assert deployer.place.status("deployer")["previous"][0]["reason"] == "destination_removed"
