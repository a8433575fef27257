"""Send what `requests` asks of Mapillary's hosts to the local server instead.

The peers have the service's address written into their code. Their requests are prepared as they
always are; only the host is another when they leave.
"""

from typing import Any

import requests

GRAPH = "https://graph.mapillary.com"


def redirect_to(url: str) -> None:
    """Rewrite the address of every request from now on.

    Args:
        url: Base address of the local server.
    """
    send = requests.Session.send

    def send_there(
        session: requests.Session,
        request: requests.PreparedRequest,
        **how: Any,  # noqa: ANN401
    ) -> requests.Response:
        request.url = (request.url or "").replace(GRAPH, url, 1)
        return send(session, request, **how)

    requests.Session.send = send_there  # type: ignore[method-assign]
