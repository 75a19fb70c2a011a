"""Pages of predictions, followed by their URLs there and back."""

import aiohttp


async def test_next_and_previous_lead_there_and_back(listing):
    headers = {"Authorization": f"Bearer {listing.token}"}
    async with aiohttp.ClientSession(headers=headers) as session:

        async def page(url):
            async with session.get(url) as response:
                assert response.status == 200
                body = await response.json()
            return body, [prediction["id"] for prediction in body["results"]]

        first, ids = await page(f"{listing.base_url}/v1/predictions")
        assert ids == listing.ids[:100]
        assert first["previous"] is None
        last, ids = await page(first["next"])
        assert ids == listing.ids[100:]
        assert last["next"] is None
        _, ids = await page(last["previous"])
        assert ids == listing.ids[:100]


async def test_a_span_of_time_is_kept_from_page_to_page(listing):
    headers = {"Authorization": f"Bearer {listing.token}"}
    async with aiohttp.ClientSession(listing.base_url, headers=headers) as session:

        async def everything(**filters):
            async with session.get("/v1/predictions", params=filters) as response:
                body = await response.json()
            results = body["results"]
            async with session.get(body["next"]) as response:
                body = await response.json()
            assert body["next"] is None
            return [*results, *body["results"]]

        created = {prediction["id"]: prediction["created_at"] for prediction in await everything()}
        before = created[listing.ids[1]]
        found = [prediction["id"] for prediction in await everything(created_before=before)]
        assert found == [key for key in listing.ids if created[key] < before]
