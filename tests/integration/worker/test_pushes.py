import asyncio
import hashlib
import json

import msgspec

from tidemill.contracts.api.pushes import BundleFile
from tidemill.contracts.bundle import blob_key, bundle_digest, version_id
from tidemill.contracts.lease import SQL_LOST
from tidemill.hosting.model_config.cog_yaml import ModelConfig
from tidemill.testing import rows

COG = b"predict: 'predict.py:Predictor'\nbuild: {cuda: '12'}\nconcurrency: {max: 4}\n"
LOSE = f"UPDATE worker SET lease_until = {SQL_LOST} WHERE id = $1"  # as the scheduler does


async def test_a_push_becomes_a_version(workshop):
    files = await workshop.upload(cog__yaml=COG, predict__py=b"class Predictor: ...")
    push_id = await workshop.push(files)
    assert await workshop.pushes.build_next()
    assert not await workshop.pushes.build_next()
    row = await workshop.row(push_id)
    assert (row["status"], row["version"], row["error"]) == (
        "succeeded",
        version_id(workshop.model_id, bundle_digest(files)),
        None,
    )
    assert row["warnings"] == ["build.cuda in cog.yaml is ignored."]
    assert "Fetching 2 files" in row["logs"]
    assert "imported\n" in row["logs"]
    assert row["completed_at"] is not None
    (version,) = await workshop.versions()
    assert (version["id"], version["digest"]) == (row["version"], bundle_digest(files))
    assert version["queue"] == await workshop.latest()
    assert not version["streams"]
    config = msgspec.json.decode(version["config"], type=ModelConfig)
    assert (config.entry, config.concurrency) == ("predict.py:Predictor", 4)
    assert msgspec.json.decode(version["files"], type=list[BundleFile]) == files
    directory, environment, _ = workshop.inspector.seen[0]
    assert (directory / "predict.py").read_bytes() == b"class Predictor: ..."
    assert environment.digest == "base"
    # The version lies ready under its queue.
    assert await workshop.bundles.acquire(version["queue"], files) == directory


async def test_the_same_files_again_are_the_same_version(workshop):
    files = await workshop.upload(cog__yaml=COG, predict__py=b"1")
    other = await workshop.upload(cog__yaml=COG, predict__py=b"2")
    for each in (files, other):
        await workshop.push(each)
        assert await workshop.pushes.build_next()
    first, second = await workshop.versions()
    assert await workshop.latest() == second["queue"]
    push_id = await workshop.push(list(reversed(files)))
    assert await workshop.pushes.build_next()
    assert (await workshop.row(push_id))["version"] == first["id"]
    assert await workshop.latest() == first["queue"]
    assert len(await workshop.versions()) == 2
    assert len(workshop.inspector.seen) == 2


async def test_the_same_files_in_two_models_are_two_versions(workshop):
    files = await workshop.upload(cog__yaml=COG, predict__py=b"1")
    made = set()
    for name in ("m", "n"):
        if name == "n":
            workshop.model_id = await rows.model(workshop.database, workshop.account_id, name="n")
        push_id = await workshop.push(files)
        assert await workshop.pushes.build_next()
        (version,) = await workshop.versions()
        assert (await workshop.row(push_id))["version"] == version["id"]
        assert version["digest"] == bundle_digest(files)
        made.add(version["id"])
    assert len(made) == 2
    assert len(list((workshop.home / "blobs").glob("??/*"))) == len(files)  # bytes are shared


async def test_files_of_a_version_from_before_ids_named_the_model_stay_that_version(workshop):
    files = await workshop.upload(cog__yaml=COG, predict__py=b"1")
    old = await rows.version(workshop.database, workshop.model_id, id=bundle_digest(files))
    push_id = await workshop.push(files)
    assert await workshop.pushes.build_next()
    row = await workshop.row(push_id)
    assert (row["status"], row["version"]) == ("succeeded", bundle_digest(files))
    assert [version["queue"] for version in await workshop.versions()] == [old]
    assert await workshop.latest() == old


async def failed(workshop, files):
    push_id = await workshop.push(files)
    assert await workshop.pushes.build_next()
    row = await workshop.row(push_id)
    assert row["status"] == "failed"
    assert row["completed_at"] is not None
    assert await workshop.versions() == []
    assert await workshop.latest() is None
    assert list((workshop.home / "versions").glob("*")) == []
    return row


async def test_what_cog_yaml_says_wrong(workshop):
    row = await failed(
        workshop, await workshop.upload(cog__yaml=b"build: {system_packages: [ffmpeg]}", predict__py=b"")
    )
    assert row["error"].startswith("cog.yaml: build.system_packages needs a container")


async def test_a_path_out_of_the_directory(workshop):
    files = await workshop.upload(cog__yaml=COG, predict__py=b"")
    files.append(BundleFile(path="../../x", sha256=files[0].sha256, size=files[0].size))
    assert ".." in (await failed(workshop, files))["error"]


async def test_a_file_that_was_never_uploaded(workshop):
    files = await workshop.upload(cog__yaml=COG, predict__py=b"")
    digest = hashlib.sha256(b"never").hexdigest()
    files.append(BundleFile(path="weights", sha256=digest, size=5))
    assert digest in (await failed(workshop, files))["error"]


async def test_bytes_that_are_not_what_their_name_says(workshop):
    files = await workshop.upload(cog__yaml=COG, predict__py=b"honest")
    await workshop.objects.put(blob_key(files[1].sha256), b"forged", "application/octet-stream")
    assert "other bytes" in (await failed(workshop, files))["error"]


async def test_a_model_that_cannot_be_imported(workshop, boot_failed):
    workshop.inspector.answer = boot_failed("SyntaxError: invalid syntax\0")
    row = await failed(workshop, await workshop.upload(cog__yaml=COG, predict__py=b"("))
    assert row["error"] == "SyntaxError: invalid syntax\N{REPLACEMENT CHARACTER}"


async def test_a_child_that_lies_about_its_schema(workshop):
    for answer in (
        b"null",
        b"",
        b'{"components": {"schemas": {"Input": {"$ref": "http://10.0.0.1/x"}, "Output": {}}}}',
    ):
        workshop.inspector.answer = msgspec.Raw(answer)
        row = await failed(workshop, await workshop.upload(cog__yaml=COG, predict__py=b""))
        assert "schema" in row["error"]


async def test_requirements_that_nobody_has(workshop, wheels):
    row = await failed(
        workshop,
        await workshop.upload(
            cog__yaml=COG.replace(b"cuda: '12'", b"python_packages: [no-such-thing]"), predict__py=b""
        ),
    )
    assert "no-such-thing was not found" in row["error"]
    assert "Installing no-such-thing." in row["logs"]


async def test_requirements_that_unpack_to_too_much(workshop, wheels):
    wheels("tidebomb", "1.0", zeros=[100])
    cog = COG.replace(b"cuda: '12'", b"python_packages: [tidebomb]")
    row = await failed(workshop, await workshop.upload(cog__yaml=cog, predict__py=b""))
    assert "tidebomb 1.0 would unpack to 100.0 MiB, 1,0" in row["error"]
    assert "times what it has packed; the limit is 100 times" in row["error"]


async def test_an_output_that_streams(workshop):
    schema = {"components": {"schemas": {"Input": {}, "Output": {"type": "array", "x-cog-array-type": "iterator"}}}}
    workshop.inspector.answer = msgspec.Raw(json.dumps(schema).encode())
    await workshop.push(await workshop.upload(cog__yaml=COG, predict__py=b""))
    assert await workshop.pushes.build_next()
    assert (await workshop.versions())[0]["streams"]


async def test_progress_is_seen_while_it_builds(workshop):
    files = await workshop.upload(cog__yaml=COG, predict__py=b"")
    push_id = await workshop.push(files)
    seen = asyncio.Event()

    async def inspect(*_args, **_trust):
        while "Importing" not in (await workshop.row(push_id))["logs"]:
            await asyncio.sleep(0.05)
        seen.set()
        return workshop.inspector.answer, ""

    workshop.inspector.inspect = inspect
    await workshop.pushes.build_next()
    assert seen.is_set()


async def test_a_push_of_a_dead_worker_is_taken_over_and_the_dead_one_is_fenced_out(workshop):
    files = await workshop.upload(cog__yaml=COG, predict__py=b"")
    push_id = await workshop.push(files)
    dying = await workshop.new_worker()
    entered, resume = asyncio.Event(), asyncio.Event()
    answer = workshop.inspector.answer

    async def inspect(*_args, **_trust):
        if not entered.is_set():
            entered.set()
            await resume.wait()
        return answer, ""

    workshop.inspector.inspect = inspect
    zombie = asyncio.create_task(workshop.builder(dying).build_next())
    await entered.wait()
    assert not await workshop.pushes.build_next()  # its lease lives
    await workshop.database.execute(LOSE, dying)
    assert await workshop.pushes.build_next()
    row = await workshop.row(push_id)
    assert (row["status"], row["worker"], row["attempt"]) == ("succeeded", workshop.worker, 2)
    resume.set()
    await zombie
    after = await workshop.row(push_id)
    assert dict(after) == dict(row)
    assert len(await workshop.versions()) == 1


async def test_a_push_that_takes_workers_down_is_given_up(workshop):
    files = await workshop.upload(cog__yaml=COG, predict__py=b"")
    push_id = await workshop.push(files, status="building")
    await workshop.database.execute("UPDATE push SET attempt = 2, worker = 'gone' WHERE id = $1", push_id)
    assert await workshop.pushes.build_next()
    row = await workshop.row(push_id)
    assert row["status"] == "failed"
    assert "were lost" in row["error"]


async def test_a_worker_that_was_called_lost_builds_nothing(workshop):
    push_id = await workshop.push(await workshop.upload(cog__yaml=COG, predict__py=b""))
    lost = await workshop.new_worker()
    await workshop.database.execute(LOSE, lost)
    assert not await workshop.builder(lost).build_next()
    assert (await workshop.row(push_id))["status"] == "queued"


async def test_two_workers_do_not_build_one_push(workshop):
    await workshop.push(await workshop.upload(cog__yaml=COG, predict__py=b""))
    other = workshop.builder(await workshop.new_worker())
    built = await asyncio.gather(workshop.pushes.build_next(), other.build_next())
    assert sorted(built) == [False, True]


async def test_the_task_wakes_for_a_hint(workshop):
    running = asyncio.create_task(workshop.pushes.run())
    try:
        push_id = await workshop.push(await workshop.upload(cog__yaml=COG, predict__py=b""))
        workshop.pushes.wake()
        async with asyncio.timeout(120):
            while (await workshop.row(push_id))["status"] != "succeeded":
                await asyncio.sleep(0.05)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
