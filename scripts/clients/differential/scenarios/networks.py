"""Networks' documents; what traffic does is the network tests' business."""

NETWORK = "/networks/{name}"


def network_changes(client):
    create = "/networks/create"
    client.step("inspect the bridge", "GET", NETWORK, "bridge")
    client.step("inspect the host's", "GET", NETWORK, "host")
    client.step("inspect none", "GET", NETWORK, "none")
    client.step("create", "POST", create, body={
        "Name": "net", "Driver": "bridge", "Labels": {"a": "1"}, "IPAM": {"Config": [{
            "Subnet": "10.99.0.0/24", "Gateway": "10.99.0.1", "IPRange": "10.99.0.128/25"}]}})
    client.step("create internal", "POST", create, body={"Name": "inner", "Internal": True, "CheckDuplicate": True,
                                                         "IPAM": {"Config": [{"Subnet": "10.98.0.0/24"}]}})
    client.step("inspect", "GET", NETWORK, "net")
    client.step("inspect internal", "GET", NETWORK, "inner", {"verbose": 1})
    client.step("list by name", "GET", "/networks", query={"filters": {"name": ["net"]}})
    for filters in ({"driver": ["bridge"], "name": ["net"]}, {"label": ["a"]}, {"type": ["custom"]}, {"dangling": ["true"]},
                    {"scope": ["local"], "name": ["net"]}):
        found = client.ask("GET", "/networks", query={"filters": filters}).json()
        client.note("list " + str(filters), sorted(network["Name"] for network in found), "GET /networks")
    id = client.start("member", Cmd=["sleep", "1000"], HostConfig={"NetworkMode": "net"}, NetworkingConfig={
        "EndpointsConfig": {"net": {"Aliases": ["other"], "IPAMConfig": {"IPv4Address": "10.99.0.200"}}}})
    client.step("inspect a member", "GET", "/containers/{name}/json", id)
    client.step("inspect with a member", "GET", NETWORK, "net")
    client.step("connect", "POST", NETWORK + "/connect", "inner", body={"Container": "member", "EndpointConfig": {
        "Aliases": ["second"]}})
    client.step("connect again", "POST", NETWORK + "/connect", "inner", body={"Container": "member"})
    client.step("inspect a member of two", "GET", "/containers/{name}/json", id)
    client.step("disconnect", "POST", NETWORK + "/disconnect", "inner", body={"Container": "member"})
    client.step("disconnect again", "POST", NETWORK + "/disconnect", "inner", body={"Container": "member"})
    client.step("remove in use", "DELETE", NETWORK, "net")
    client.ask("DELETE", "/containers/{name}", id, {"force": 1})
    client.step("remove", "DELETE", NETWORK, "net")
    client.step("prune", "POST", "/networks/prune")
    client.events("events of networks", {"type": ["network"]})


def network_refusals(client):
    create = "/networks/create"

    def make(step, **body):
        client.step(step, "POST", create, body=body)

    make("create without a name", Driver="bridge")
    make("create with a name malformed", Name="a b/c")
    make("create like one there is", Name="bridge")
    make("create with a subnet malformed", Name="x", IPAM={"Config": [{"Subnet": "what"}]})
    make("create with a gateway outside", Name="x", IPAM={"Config": [{"Subnet": "10.97.0.0/24", "Gateway": "10.1.0.1"}]})
    make("create with a range outside", Name="x", IPAM={"Config": [{"Subnet": "10.97.0.0/24", "IPRange": "10.1.0.0/25"}]})
    client.step("inspect nothing", "GET", NETWORK, "nothing")
    client.step("remove nothing", "DELETE", NETWORK, "nothing")
    client.step("remove the bridge", "DELETE", NETWORK, "bridge")
    client.step("connect nobody", "POST", NETWORK + "/connect", "bridge", body={"Container": "nobody"})
    client.step("connect to nothing", "POST", NETWORK + "/connect", "nothing", body={"Container": "nobody"})
    client.step("disconnect nobody", "POST", NETWORK + "/disconnect", "bridge", body={"Container": "nobody"})
    client.step("disconnect from nothing", "POST", NETWORK + "/disconnect", "nothing", body={"Container": "nobody"})
    client.step("list with a filter unknown", "GET", "/networks", query={"filters": {"what": ["x"]}})
    client.step("prune with a filter unknown", "POST", "/networks/prune", query={"filters": {"what": ["x"]}})
    client.create("hosted", HostConfig={"NetworkMode": "host"})
    client.step("connect one of the host's", "POST", NETWORK + "/connect", "bridge", body={"Container": "hosted"})
