"""Servers that speak OpenAI's protocol: how they are named, asked, paid, started and stopped. Engines, scorers and
trainers ask them; none of these is known here."""

from rsft.servers.asking import Malformed, Refused, Server, Unanswered
from rsft.servers.endpoint import Endpoint, Price
from rsft.servers.spending import Spending

__all__ = ["Endpoint", "Malformed", "Price", "Refused", "Server", "Spending", "Unanswered"]
