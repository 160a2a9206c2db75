"""`Subnet`: each container lab has a network of its own between this computer and its machine, and no way out.

Lab number n has 10.83.(16n).0/20: this computer is .1, the web host .2. The other addresses of this computer
(`client_addresses`) lie in all sixteen /24s, so that load can come from many of them: nginx's ip_hash goes by
the /24 of a client.
"""

from __future__ import annotations

import json
import socket
import tempfile
from dataclasses import dataclass
from ipaddress import IPv4Network

from stacklab.errors import LabError
from stacklab.labs.storage import run

SUBNETS = tuple(IPv4Network("10.83.0.0/16").subnets(new_prefix=20))
CLIENTS_IN_FIRST_24 = 30
CLIENTS_IN_OTHER_24S = 2
FIRST_CLIENT = 10

# A route wider than this (10.0.0.0/8 of a VPN, say) does not clash: the lab's own route is more specific.
WIDEST_CLASH = 16


@dataclass(frozen=True)
class Subnet:
    """The network of lab number `index` (0–15)."""

    index: int

    @property
    def network(self) -> IPv4Network:
        """All its addresses."""
        return SUBNETS[self.index]

    @property
    def interface(self) -> str:
        """This computer's end of the cable.

        Not named ve-…: where this computer runs systemd-networkd, its stock rules would give such an interface
        other addresses and a way out through NAT.
        """
        return f"stacklab{self.index}"

    @property
    def host_address(self) -> str:
        """This computer, as the machine sees it."""
        return str(self.network[1])

    @property
    def web_address(self) -> str:
        """The machine."""
        return str(self.network[2])

    @property
    def client_addresses(self) -> list[str]:
        """This computer's other addresses: 30 in the first /24, two in each of the fifteen others."""
        first, *others = self.network.subnets(new_prefix=24)
        addresses = [str(first[FIRST_CLIENT + n]) for n in range(CLIENTS_IN_FIRST_24)]
        return addresses + [str(net[FIRST_CLIENT + n]) for net in others for n in range(CLIENTS_IN_OTHER_24S)]

    def clash(self, used: dict[IPv4Network, str]) -> str | None:
        """The interface that already uses a part of this network, if there is one; `used` as from `used_networks`."""
        for network, interface in used.items():
            if interface != self.interface and network.prefixlen >= WIDEST_CLASH and network.overlaps(self.network):
                return interface
        return None


def used_networks() -> dict[IPv4Network, str]:
    """{network: interface} of every IPv4 route and address of this computer, the default route left out."""
    used = {}
    for route in json.loads(run(["ip", "-json", "-4", "route", "show", "table", "all"], "cannot read the routes")):
        if route["dst"] != "default":
            used[IPv4Network(route["dst"])] = route.get("dev", route.get("type", "a route"))
    for link in json.loads(run(["ip", "-json", "-4", "address"], "cannot read the addresses")):
        for address in link.get("addr_info", []):
            network = IPv4Network((address["local"], address["prefixlen"]), strict=False)
            used[network] = link["ifname"]
    return used


def free_subnet(taken: set[int], used: dict[IPv4Network, str]) -> Subnet:
    """The first subnet that no other lab has (`taken`) and nothing else on this computer uses."""
    for index in range(len(SUBNETS)):
        if index not in taken and not Subnet(index).clash(used):
            return Subnet(index)
    raise LabError(
        f"no network is left for another lab: {len(taken)} labs and this computer's routes use all of 10.83.0.0/16; "
        "remove a lab with 'fab destroy'"
    )


def exists(subnet: Subnet) -> bool:
    """Is the cable plugged in at this end?"""
    try:
        socket.if_nametoindex(subnet.interface)
    except OSError:
        return False
    return True


def configure(subnet: Subnet) -> bool:
    """Give this computer's end of the cable its addresses; to repeat it does no harm. False: there is no cable."""
    length = subnet.network.prefixlen
    lines = [f"link set dev {subnet.interface} up"]
    for address in (subnet.host_address, *subnet.client_addresses):
        lines.append(f"address replace {address}/{length} dev {subnet.interface}")
    with tempfile.NamedTemporaryFile("w") as batch:
        batch.write("\n".join(lines) + "\n")
        batch.flush()
        try:
            run(["ip", "-batch", batch.name], f"cannot give {subnet.interface} its addresses")
        except LabError as error:
            if exists(subnet) and "Cannot find device" not in str(error):  # it may have been plugged in this very moment
                raise
            return False  # not plugged in yet; or the machine has died since, and its cable with it
    return True


def remove(subnet: Subnet) -> None:
    """Take away a cable that a killed machine left behind."""
    if exists(subnet):
        run(["ip", "link", "delete", "dev", subnet.interface], f"cannot remove {subnet.interface}")


def machine_files(subnet: Subnet) -> dict[str, str]:
    """{path: text} of the files that give the machine its end.

    The file sorts before systemd's own 80-container-host0.network, which would ask for DHCP.
    """
    return {
        "etc/systemd/network/10-host0.network": (
            "[Match]\nName=host0\n\n"
            f"[Network]\nAddress={subnet.web_address}/{subnet.network.prefixlen}\nLinkLocalAddressing=no\n"
            "IPv6AcceptRA=no\nLLMNR=no\nMulticastDNS=no\n"
        ),
        "etc/hosts": f"127.0.0.1 localhost\n::1 localhost\n{subnet.web_address} web\n{subnet.host_address} desk\n",
    }

