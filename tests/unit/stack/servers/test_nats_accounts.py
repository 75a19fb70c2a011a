"""The NATS accounts of an installation: what crosses between them, and the operators' copy."""

import json
from pathlib import Path

from tidemill.contracts import subjects
from tidemill.stack.servers import nats_accounts

ROOT = Path(__file__).parents[4]
MADE = nats_accounts.configuration("tidemill", "SERVICES_PASSWORD", "CALLOUT_ISSUER")
ACCOUNTS = MADE["accounts"]


def test_the_operators_copy_is_current():
    assert json.loads((ROOT / "deploy" / "nats" / "accounts.json").read_text()) == MADE


def test_outsiders_have_no_jetstream_and_no_users_of_the_servers_own():
    outside = ACCOUNTS[subjects.EXTERNAL_ACCOUNT]
    assert set(outside) == {"limits", "imports"}


def test_only_pulling_looking_and_acknowledging_lead_inwards():
    services = {
        export["service"]: export["accounts"]
        for export in ACCOUNTS[subjects.SERVICES_ACCOUNT]["exports"]
        if "service" in export
    }
    inwards = (
        "$JS.API.CONSUMER.MSG.NEXT.PREDICTIONS.*",
        "$JS.API.CONSUMER.INFO.PREDICTIONS.*",
        "$JS.ACK.PREDICTIONS.>",
    )
    assert services == {subject: [subjects.EXTERNAL_ACCOUNT] for subject in inwards}


def test_only_lifecycle_events_lead_outwards():
    streams = [export["stream"] for export in ACCOUNTS[subjects.SERVICES_ACCOUNT]["exports"] if "stream" in export]
    assert streams == ["prediction.>", "training.>"]


def test_every_import_is_exported_to_its_importer():
    for importer, account in ACCOUNTS.items():
        for each in account.get("imports", []):
            (kind,) = {"stream", "service"} & set(each)
            exports = ACCOUNTS[each[kind]["account"]]["exports"]
            assert any(e.get(kind) == each[kind]["subject"] and importer in e["accounts"] for e in exports), each
