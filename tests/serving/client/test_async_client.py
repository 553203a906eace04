import asyncio
import io
import time

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from kflare.errors import DataError, ServingError, SettingError
from kflare.serving import AsyncClient

TABLE = pd.DataFrame({"USFLUX": [0.0, 0.5], "AREA": [0, 1], "R_VALUE": [0.0, 1.0]})


def use(server, question):
    async def go():
        async with AsyncClient(server.address) as client:
            return await question(client)

    return asyncio.run(go())


def png(value):
    file = io.BytesIO()
    Image.fromarray(np.full((32, 32), value, np.uint8)).save(file, "PNG")
    return file.getvalue()


def test_it_answers_as_the_other_client_does(standing, client, tmp_path):
    (tmp_path / "a.png").write_bytes(png(51))
    magnetogram = np.full((1, 32, 32, 1), 50.0)

    async def question(other):
        return (
            await other.predict_regions("defn-c", TABLE),
            await other.predict_images("cnn-c", [png(255), tmp_path / "a.png"]),
            await other.predict_magnetograms("cnn-c", magnetogram, version=1),
            await other.metadata("cnn-c"),
            await other.status("defn-c"),
            await other.served(),
            await other.wait_until_available("defn-c"),
        )

    got = use(standing, question)
    wanted = (
        client.predict_regions("defn-c", TABLE),
        client.predict_images("cnn-c", [png(255), tmp_path / "a.png"]),
        client.predict_magnetograms("cnn-c", magnetogram),
    )
    for mine, theirs in zip(got[:3], wanted, strict=True):
        assert (mine.model, mine.version) == (theirs.model, theirs.version)
        for name, values in theirs.outputs.items():
            np.testing.assert_array_equal(mine.outputs[name], values)
    rest = (client.metadata("cnn-c"), client.status("defn-c"), client.served(), client.wait_until_available("defn-c"))
    assert got[3:] == rest


def test_errors_are_the_same(standing):
    async def question(client):
        with pytest.raises(ServingError, match=r"`cnn-m` is not served .* served there: cnn-c \(1\), defn-c \(2, 1\)"):
            await client.predict("cnn-m", {})
        with pytest.raises(DataError, match="lacks `AREA`"):
            await client.predict_regions("defn-c", TABLE.drop(columns="AREA"))
        with pytest.raises(ServingError, match=r"`cnn-m` at .* is not available after 0\.3 s"):
            await client.wait_until_available("cnn-m", 0.3)
        with pytest.raises(SettingError, match="`in_flight`"):
            [reply async for reply in client.predict_bulk("cnn-c", [], in_flight=0)]

    use(standing, question)


def test_a_bulk_keeps_the_order_and_gives_up_at_the_first_failure(standing):
    batches = [{"magnetogram": np.full((1, 32, 32, 1), float(field), np.float32)} for field in range(-50, 50)]

    async def question(client):
        got = [reply.outputs["probability"][0] async for reply in client.predict_bulk("cnn-c", batches)]
        np.testing.assert_allclose(got, (1 + np.arange(-50, 50) / 100) / 2, atol=1e-6)

        async def arriving():
            for inputs in batches:
                await asyncio.sleep(0)
                yield inputs

        assert [r.outputs["probability"][0] async for r in client.predict_bulk("cnn-c", arriving())] == got
        broken = [*batches[:3], {"magnetogram": np.zeros(3, np.float32)}, *batches]
        taken = iter(broken)
        answered = 0
        with pytest.raises(ServingError, match="INVALID_ARGUMENT"):  # noqa: PT012
            async for _ in client.predict_bulk("cnn-c", taken, in_flight=2):
                answered += 1
        assert answered == 3
        assert len(list(taken)) >= len(batches) - 2  # not taken up

    use(standing, question)


def test_a_cancelled_question_ends_at_once(standing):
    async def question(client):
        start = time.monotonic()
        work = {"rounds": np.array(2_000_000, np.int32)}
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.predict("cnn-c", work, signature="work"), 0.2)
        assert time.monotonic() - start < 2
        return await client.predict_regions("defn-c", TABLE)

    assert use(standing, question).version == 2
