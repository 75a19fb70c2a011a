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
        async with session.get(f"/v1/predictions/{listing.ids[1]}") as response:
            before = (await response.json())["created_at"]
        found = []
        async with session.get("/v1/predictions", params={"created_before": before}) as response:
            body = await response.json()
        found += [prediction["id"] for prediction in body["results"]]
        async with session.get(body["next"]) as response:
            body = await response.json()
        found += [prediction["id"] for prediction in body["results"]]
        assert body["next"] is None
        assert found == listing.ids[2:]
