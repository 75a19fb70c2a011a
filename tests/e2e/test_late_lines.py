"""What a model still prints for one account after its prediction has ended is in no other account's logs."""

from tidemill.testing.running import until

MODEL = "local/e2e_late"


async def test_a_late_line_of_one_account_is_not_in_the_logs_of_another(stack, new_token):
    logs = {}
    async with stack.session() as session:
        for name, leave in (("early", True), ("next", False)):
            headers = {"Authorization": f"Bearer {new_token(name)}"}
            path, body = f"/v1/models/{MODEL}/predictions", {"input": {"text": f"of-{name}", "leave": leave}}
            async with session.post(path, json=body, headers=headers) as response:
                assert response.status == 201, await response.text()
                made = await response.json()

            async def ended(made=made, headers=headers):
                async with session.get(f"/v1/predictions/{made['id']}", headers=headers) as response:
                    found = await response.json()
                    return None if found["status"] in {"starting", "processing"} else found

            found = await until("it ends", ended, within_s=120)
            assert (found["status"], found["output"]) == ("succeeded", f"of-{name}"), found
            logs[name] = found["logs"]
    assert "now of-early\n" in logs["early"]
    assert logs["early"].count("late") == 0
    assert logs["next"] == "now of-next\n"
