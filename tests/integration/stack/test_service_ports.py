"""A service whose operations port was taken between the choice and the use."""

import os
import socket

from tidemill.stack.home.layout import Home
from tidemill.stack.processes.ports import PortReservations
from tidemill.stack.services.service_process import BACKGROUND_SERVICES, ServiceProcess


async def test_another_port_is_chosen_when_the_first_was_taken(tmp_path, install_programs):
    home = Home(tmp_path / "home")
    home.records.mkdir(parents=True)
    home.log_directory.mkdir()
    env = {**os.environ, "TIDEMILL_DATABASE_URL": "postgres://x", "TIDEMILL_HOST": "127.0.0.1"}
    reservations = PortReservations()
    with socket.create_server(("127.0.0.1", 0)) as other:
        choices = [other.getsockname()[1], reservations.choose()]
        service = ServiceProcess(
            BACKGROUND_SERVICES[0], home, install_programs(tmp_path / "programs"), env, iter(choices).__next__
        )
        try:
            await service.start()
            assert service.where == f"ops {choices[1]}"
        finally:
            await service.stop()
