// SPDX-License-Identifier: Apache-2.0
// Service: annotations, ports, families, and each refusal as the user sees it.
#include "tests/unit/config/refusal.hpp"

namespace xlb {
namespace {

struct Text {
  std::string annotations;  // lines of four blanks
  std::string spec = "  ports: [{port: 80}]\n";
  [[nodiscard]] std::string yaml() const {
    return "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\n" +
           (annotations.empty() ? "" : "  annotations:\n" + annotations) + "spec:\n  type: LoadBalancer\n" + spec;
  }
};

Service service(const Text& text) {
  const ParsedManifests parsed = accepted(text.yaml());
  EXPECT_EQ(parsed.objects.services.size(), 1U);
  return parsed.objects.services.empty() ? Service{} : parsed.objects.services[0];
}
std::string refused_annotation(const std::string& line) {
  return refusal(Text{"    " + line + "\n"}.yaml());
}
std::string refused_spec(const std::string& spec) {
  return refusal(Text{"", spec}.yaml());
}
std::string refused_ports(const std::string& ports) {
  return refused_spec("  ports:\n  - " + ports + "\n");
}
std::vector<std::string> warnings(const Text& text) {
  return accepted(text.yaml()).warnings;
}

const std::string kName = "Service default/web: ";
const std::string kNotes = "in.yaml:6: " + kName + "metadata.annotations";

TEST(Service, DefaultsAreThoseOfKubernetes) {
  const Service read = service({});
  EXPECT_EQ(read.name.text(), "default/web");
  EXPECT_EQ(read.type, "LoadBalancer");
  EXPECT_EQ(read.ports, (std::vector<ServicePort>{{"", Protocol::tcp, 80, ""}}));
  EXPECT_EQ(read.policy, TrafficPolicy::cluster);
  EXPECT_EQ(read.family_policy, FamilyPolicy::single);
  EXPECT_EQ(read.path, Path::automatic);
  EXPECT_EQ(read.unknown_ports, UnknownPorts::reject);
  EXPECT_FALSE(read.affinity_s);
  EXPECT_FALSE(read.publish_not_ready);
}

TEST(Service, EverythingIsRead) {
  const Service read = service(
      {"    metallb.io/loadBalancerIPs: 192.168.0.201, fd00::1\n    metallb.io/address-pool: home\n"
       "    metallb.io/allow-shared-ip: key\n    xdp-lb.io/path: kernel\n    xdp-lb.io/unknown-ports: fallback\n",
       "  loadBalancerClass: xdp-lb.io/vip\n  ports:\n  - {name: http, port: 80, targetPort: web}\n"
       "  - {name: h3, port: 443, protocol: UDP, targetPort: 8443}\n  selector: {app: web}\n"
       "  ipFamilies: [IPv6, IPv4]\n  ipFamilyPolicy: RequireDualStack\n  externalTrafficPolicy: Local\n"
       "  sessionAffinity: ClientIP\n  sessionAffinityConfig: {clientIP: {timeoutSeconds: 60}}\n"
       "  loadBalancerSourceRanges: [10.0.0.0/8, ' fd00::/8 ']\n  publishNotReadyAddresses: true\n"
       "  healthCheckNodePort: 31000\n  externalIPs: [1.2.3.4]\n  clusterIP: 10.43.0.9\n"});
  ASSERT_EQ(read.requested.size(), 2U);
  EXPECT_EQ(read.requested[1].text(), "fd00::1");
  EXPECT_EQ(read.pool, "home");
  EXPECT_EQ(read.sharing_key, "key");
  EXPECT_EQ(read.path, Path::kernel);
  EXPECT_EQ(read.unknown_ports, UnknownPorts::fall_back);
  EXPECT_EQ(read.load_balancer_class, "xdp-lb.io/vip");
  EXPECT_EQ(read.ports,
            (std::vector<ServicePort>{{"http", Protocol::tcp, 80, "web"}, {"h3", Protocol::udp, 443, "8443"}}));
  EXPECT_EQ(read.selector.at("app"), "web");
  EXPECT_EQ(read.families, (std::vector<Family>{Family::ipv6, Family::ipv4}));
  EXPECT_EQ(read.family_policy, FamilyPolicy::require_dual);
  EXPECT_EQ(read.policy, TrafficPolicy::local);
  EXPECT_EQ(read.affinity_s, 60U);
  ASSERT_EQ(read.source_ranges.size(), 2U);
  EXPECT_EQ(read.source_ranges[1].text(), "fd00::/8");
  EXPECT_TRUE(read.publish_not_ready);
  EXPECT_EQ(read.health_check_port, 31000);
}

TEST(Service, HowItsBackendsAreAsked) {
  EXPECT_EQ(service({"    xdp-lb.io/health: \"http:8080/ready:204\"\n"}).health, *parse_health_check("http:8080/ready:204"));
  EXPECT_FALSE(service({}).health);
  EXPECT_EQ(refused_annotation("xdp-lb.io/health: icmp"),
            kNotes + "[\"xdp-lb.io/health\"]: \"icmp\": a backend is asked by tcp or http: write tcp, tcp:PORT, http:/PATH or "
                     "http:PORT/PATH:STATUS");
}

TEST(Service, AffinityLastsThreeHoursUnlessSaid) {
  EXPECT_EQ(service({"", "  ports: [{port: 80}]\n  sessionAffinity: ClientIP\n"}).affinity_s, 10800U);
  EXPECT_FALSE(service({"", "  ports: [{port: 80}]\n  sessionAffinity: None\n"}).affinity_s);
  EXPECT_EQ(
      refused_spec("  ports: [{port: 80}]\n  sessionAffinity: ClientIP\n  sessionAffinityConfig: {clientIP: "
                   "{timeoutSeconds: 86401}}\n"),
      "in.yaml:9: " + kName +
          "spec.sessionAffinityConfig.clientIP.timeoutSeconds: expected a whole number from 1 to 86400, found 86401");
}

TEST(Service, OldSpellingsAreReadAndTheNewOneWins) {
  const Text old{
      "    metallb.universe.tf/address-pool: home\n    metallb.universe.tf/loadBalancerIPs: 192.168.0.201\n"
      "    metallb.universe.tf/allow-shared-ip: key\n    metallb.universe.tf/ip-allocated-from-pool: home\n"};
  EXPECT_EQ(service(old).pool, "home");
  EXPECT_EQ(service(old).sharing_key, "key");
  EXPECT_EQ(service(old).requested.size(), 1U);
  ASSERT_EQ(warnings(old).size(), 3U);
  EXPECT_EQ(warnings(old)[1], "in.yaml:6: " + kName +
                                  "metadata.annotations[\"metallb.universe.tf/address-pool\"]: deprecated spelling: "
                                  "write metallb.io/address-pool");
  const Text both{"    metallb.universe.tf/address-pool: old\n    metallb.io/address-pool: new\n"};
  EXPECT_EQ(service(both).pool, "new");
  EXPECT_EQ(warnings(both),
            (std::vector<std::string>{
                kNotes + "[\"metallb.universe.tf/address-pool\"]: deprecated spelling, and ignored because "
                         "metallb.io/address-pool is there too: remove it"}));
}

TEST(Service, RequestedAddressesAreRefusedInMetallbsWords) {
  const std::string ips = kNotes + "[\"metallb.io/loadBalancerIPs\"]: ";
  EXPECT_EQ(refused_annotation("metallb.io/loadBalancerIPs: 192.168.0.300"),
            ips +
                "invalid metallb.io/loadBalancerIPs: \"192.168.0.300\": write one address, or one of each family "
                "with a comma between them");
  EXPECT_EQ(refused_annotation("metallb.io/loadBalancerIPs: 1.2.3.4,"),
            ips +
                "invalid metallb.io/loadBalancerIPs: \"1.2.3.4,\": write one address, or one of each family with a "
                "comma between them");
  EXPECT_EQ(refused_annotation("metallb.io/loadBalancerIPs: 1.2.3.4,1.2.3.5"),
            ips + "\"1.2.3.4\" \"1.2.3.5\" has the same family: keep one of them");
  EXPECT_EQ(refused_annotation("metallb.io/loadBalancerIPs: 1.2.3.4,fd00::1,fd00::2"),
            ips + "more than two addresses [\"1.2.3.4\" \"fd00::1\" \"fd00::2\"]: keep one of each family");
  EXPECT_EQ(
      refusal(Text{"    metallb.io/loadBalancerIPs: 1.2.3.4\n", "  ports: [{port: 80}]\n  loadBalancerIP: 1.2.3.4\n"}
                  .yaml()),
      ips + "service can not have both metallb.io/loadBalancerIPs and svc.Spec.LoadBalancerIP: keep the annotation");
  EXPECT_EQ(refused_spec("  ports: [{port: 80}]\n  loadBalancerIP: here\n"),
            "in.yaml:8: " + kName + "spec.loadBalancerIP: invalid spec.loadBalancerIP \"here\": write one address");
  EXPECT_EQ(service({"", "  ports: [{port: 80}]\n  loadBalancerIP: 1.2.3.4\n"}).requested.at(0).text(), "1.2.3.4");
  EXPECT_TRUE(service({"    metallb.io/loadBalancerIPs: ''\n"}).requested.empty());
}

TEST(Service, OurAnnotationsAreClosedSets) {
  EXPECT_EQ(refused_annotation("xdp-lb.io/path: slow"),
            kNotes + "[\"xdp-lb.io/path\"]: expected fast or kernel, found \"slow\"");
  EXPECT_EQ(refused_annotation("xdp-lb.io/unknown-ports: pass"),
            kNotes + "[\"xdp-lb.io/unknown-ports\"]: expected reject, drop or fallback, found \"pass\"");
  EXPECT_EQ(refused_annotation("xdp-lb.io/unknown-port: drop"),
            kNotes + "[\"xdp-lb.io/unknown-port\"]: unknown annotation: did you mean xdp-lb.io/unknown-ports?");
  EXPECT_EQ(warnings({"    metallb.io/loadbalancerips: 1.2.3.4\n"}),
            (std::vector<std::string>{kNotes + "[\"metallb.io/loadbalancerips\"]: unknown annotation, ignored: did "
                                               "you mean metallb.io/loadBalancerIPs?"}));
  EXPECT_EQ(refused_annotation("metallb.io/allow-shared-ip: true"),
            kNotes + "[\"metallb.io/allow-shared-ip\"]: expected a string, found the boolean true: put it in quotes");
  EXPECT_TRUE(warnings({"    metallb.io/ip-allocated-from-pool: home\n    example.org/x: 'y'\n"}).empty());
}

TEST(Service, PortsAreChecked) {
  const std::string port = "in.yaml:8: " + kName + "spec.ports[0]";
  EXPECT_EQ(refused_ports("port: 0"), port + ".port: expected a whole number from 1 to 65535, found 0");
  EXPECT_EQ(refused_ports("port: 70000"), port + ".port: expected a whole number from 1 to 65535, found 70000");
  EXPECT_EQ(refused_ports("port: -80"), port + ".port: expected a whole number from 1 to 65535, found -80");
  EXPECT_EQ(refused_ports("port: 99999999999999999999"),
            port + ".port: expected a whole number from 1 to 65535, found 99999999999999999999");
  EXPECT_EQ(refused_ports("port: 080"), port + ".port: expected a whole number from 1 to 65535, found 080");
  EXPECT_EQ(refused_ports("port: 80.5"), port + ".port: expected a whole number from 1 to 65535, found 80.5");
  EXPECT_EQ(refused_ports("port: \"80\""),
            port + ".port: expected a whole number from 1 to 65535, found the string \"80\"");
  EXPECT_EQ(refused_ports("name: http"), port + ".port: missing: a port is a whole number from 1 to 65535");
  EXPECT_EQ(refused_ports("{port: 80, protocol: SCTP}"), port + ".protocol: SCTP is not supported: write TCP or UDP");
  EXPECT_EQ(refused_ports("{port: 80, protocol: tcp}"), port + ".protocol: expected TCP or UDP, found \"tcp\"");
  EXPECT_EQ(refused_ports("{port: 80, targetPort: 65536}"),
            port + ".targetPort: expected a whole number from 1 to 65535, found 65536");
  EXPECT_EQ(refused_ports("{port: 80, targetPort: '8080'}"),
            port + ".targetPort: invalid target port \"8080\": remove the quotes");
  EXPECT_EQ(refused_ports("{port: 80, targetPort: Web_Port}"),
            port +
                ".targetPort: invalid target port \"Web_Port\": write a number, or the name of a port: at most 15 "
                "small letters, digits and '-'");
  EXPECT_EQ(refused_spec("  ports: []\n"),
            "in.yaml:7: " + kName + "spec.ports: missing: a Service has at least one port");
}

TEST(Service, PortsOfOneServiceMustDiffer) {
  const std::string second = "in.yaml:9: " + kName + "spec.ports[1].";
  EXPECT_EQ(refused_spec("  ports:\n  - {name: a, port: 80}\n  - {name: b, port: 80}\n").substr(11),
            kName + "spec.ports[1].port: port 80/TCP is listed twice: remove one");
  EXPECT_EQ(refused_spec("  ports:\n  - {name: a, port: 80}\n  - {name: a, port: 81}\n"),
            second + "name: the name \"a\" stands on another port of this Service: change one");
  EXPECT_EQ(refused_spec("  ports:\n  - {name: a, port: 80}\n  - {port: 81}\n"),
            second + "name: missing: each port of a Service with several has a name");
  service({"", "  ports: [{name: a, port: 443}, {name: b, port: 443, protocol: UDP}]\n"});
}

TEST(Service, FamiliesAreChecked) {
  EXPECT_EQ(
      refused_spec("  ports: [{port: 80}]\n  ipFamilies: [IPv4, IPv6]\n"),
      "in.yaml:6: " + kName + "spec.ipFamilyPolicy: two ipFamilies need PreferDualStack or RequireDualStack here");
  EXPECT_EQ(refused_spec("  ports: [{port: 80}]\n  ipFamilies: [IPv4, IPv4]\n  ipFamilyPolicy: PreferDualStack\n"),
            "in.yaml:8: " + kName + "spec.ipFamilies[1]: this family is listed twice: remove one");
  EXPECT_EQ(refused_spec("  ports: [{port: 80}]\n  ipFamilies: [ipv4]\n"),
            "in.yaml:8: " + kName + "spec.ipFamilies[0]: expected IPv4 or IPv6, found \"ipv4\"");
}

TEST(Service, SourceRangesAreChecked) {
  EXPECT_EQ(refused_spec("  ports: [{port: 80}]\n  loadBalancerSourceRanges: [10.0.0.1]\n"),
            "in.yaml:8: " + kName +
                "spec.loadBalancerSourceRanges[0]: invalid CIDR \"10.0.0.1\": write 192.168.0.0/24, or /32 for one "
                "address");
  EXPECT_EQ(
      warnings({"", "  ports: [{port: 80}]\n  loadBalancerSourceRanges: [10.1.2.3/8]\n"}),
      (std::vector<std::string>{"in.yaml:8: " + kName +
                                "spec.loadBalancerSourceRanges[0]: \"10.1.2.3/8\" is the whole of 10.0.0.0/8"}));
}

TEST(Service, OtherTypesAreReadAndSaid) {
  const ParsedManifests parsed =
      accepted("apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 80}]}\n");
  EXPECT_EQ(parsed.objects.services.at(0).type, "ClusterIP");
  EXPECT_EQ(parsed.warnings,
            (std::vector<std::string>{"in.yaml:4: " + kName +
                                      "spec.type: missing, which means ClusterIP: such a Service gets no "
                                      "address: write type: LoadBalancer"}));
  EXPECT_EQ(refusal("apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {type: Loadbalancer}\n"),
            "in.yaml:4: " + kName +
                "spec.type: expected ClusterIP, NodePort, LoadBalancer or ExternalName, found \"Loadbalancer\"");
}

}  // namespace
}  // namespace xlb
