// SPDX-License-Identifier: Apache-2.0
// Attaching, again and again, in every mode, and what remains afterwards: nothing.
#include <bpf/bpf.h>
#include <linux/if_link.h>
#include <linux/pkt_cls.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loader/bpf_link.hpp"
#include "loader/kernel_features.hpp"
#include "loader/kernel_tables.hpp"
#include "loader/pins.hpp"
#include "loader/program_facts.hpp"
#include "tests/unit/loader/attached_node.hpp"

namespace xlb {
namespace {

using namespace std::chrono_literals;

class AttachTest : public AttachedNode {
 protected:
  std::uint32_t xdp_program(const std::string& interface) const {
    auto socket = NetlinkSocket::open();
    auto programs = xdp_programs(*socket, ifindex(interface));
    EXPECT_TRUE(programs) << programs.error().text;
    return programs ? programs->any() : 0;
  }
  LinkFacts xdp_link(const std::string& interface) const {
    auto link = open_pin(pin_dir() + "/links/xdp-" + std::to_string(ifindex(interface)));
    EXPECT_TRUE(link) << link.error().text;
    auto facts = link_facts(link->get());
    EXPECT_TRUE(facts);
    return *facts;
  }
  lb_node node() const {
    auto node = plane().node();
    EXPECT_TRUE(node) << node.error().text;
    return *node;
  }
  NodeRow node_row() const {
    auto tables = KernelTables::open(pin_dir());
    EXPECT_TRUE(tables) << tables.error().text;
    auto row = tables->node_row();
    EXPECT_TRUE(row) << row.error().text;
    return std::move(*row);
  }
};

class AttachInEveryMode : public AttachTest, public testing::WithParamInterface<AttachMode> {};
INSTANTIATE_TEST_SUITE_P(Modes, AttachInEveryMode,
                         testing::Values(AttachMode::automatic, AttachMode::native, AttachMode::tc,
                                         AttachMode::generic),
                         [](const auto& info) { return std::string(attach_mode_text(info.param)); });

TEST_P(AttachInEveryMode, LeavesNothingBehind) {
  const std::string before = everything();
  const AttachedLink link = attach("lan0", GetParam());
  const AttachMode wanted = GetParam() == AttachMode::automatic ? AttachMode::tc : GetParam();  // a veth: see below
  EXPECT_EQ(link.mode, wanted);
  EXPECT_NE(before, everything()) << "the comparison sees nothing";
  EXPECT_TRUE(has(filters("lan0"), "xlb_lan_tc"));
  EXPECT_TRUE(has(filters("lan0"), "xlb_egress"));
  EXPECT_EQ(xdp_program("lan0") != 0, wanted != AttachMode::tc);

  const auto listed = plane().attached();
  ASSERT_TRUE(listed) << listed.error().text;
  ASSERT_EQ(listed->size(), 1u);
  EXPECT_EQ(listed->front().interface, "lan0");
  EXPECT_EQ(listed->front().mode, wanted);
  EXPECT_EQ(listed->front().programs, link.programs);

  const auto gone = plane().detach("lan0");
  ASSERT_TRUE(gone) << gone.error().text;
  EXPECT_EQ(difference(before, everything()), "");
}

TEST_P(AttachInEveryMode, AgainChangesNothing) {
  attach("lan0", GetParam());
  const std::string once = everything();
  const std::uint32_t program = xdp_program("lan0"), map = pinned_map(tables_folder() + "/xlb_flows");
  const AttachedLink again = attach("lan0", GetParam());
  EXPECT_EQ(difference(once, everything()), "");
  EXPECT_EQ(program, xdp_program("lan0"));
  EXPECT_EQ(map, pinned_map(tables_folder() + "/xlb_flows"));
  EXPECT_FALSE(again.reason.empty());
}

TEST_F(AttachTest, AutoTakesTcOnAVethAndSaysWhy) {
  EXPECT_TRUE(has(attach("lan0", AttachMode::automatic).reason, "veth"));
}

// A veth's far end is a sender on this machine, which leaves checksums to be finished: its frames are the twin's to send.
TEST_F(AttachTest, XdpSendsNothingOfAVethsOn) {
  EXPECT_TRUE(has_whole_frames("e1000e"));
  EXPECT_TRUE(has_whole_frames("virtio_net"));
  EXPECT_FALSE(has_whole_frames("veth"));
  EXPECT_FALSE(has_whole_frames(""));  // it does not say
  for (const AttachMode mode : {AttachMode::native, AttachMode::generic, AttachMode::tc}) {
    attach("lan0", mode);
    auto tables = KernelTables::open(pin_dir());
    ASSERT_TRUE(tables) << tables.error().text;
    auto row = tables->link({ifindex("lan0"), 0});
    ASSERT_TRUE(row && *row);
    EXPECT_EQ((*row)->flags & XLB_LINK_XDP_SENDS, 0u);
    // As if another driver had been there before: each attach says anew.
    (*row)->flags |= XLB_LINK_XDP_SENDS;
    ASSERT_TRUE(tables->apply(EditLink{{ifindex("lan0"), 0}, **row}));
  }
}

TEST_F(AttachTest, AutoTakesTcWhereTheDriverHasNoNativeXdp) {
  const AttachedLink link = attach("cni0", AttachMode::automatic);
  EXPECT_EQ(link.mode, AttachMode::tc);
  EXPECT_TRUE(has(link.reason, "bridge has no native XDP")) << link.reason;
  EXPECT_TRUE(has(refusal({"cni0", AttachMode::native, {}, {}}), "no native XDP"));
}

TEST_F(AttachTest, AnotherModeReplacesTheOneBefore) {
  const std::string before = everything();
  for (const AttachMode mode : {AttachMode::native, AttachMode::generic, AttachMode::tc, AttachMode::generic,
                                AttachMode::native, AttachMode::tc}) {
    EXPECT_EQ(attach("lan0", mode).mode, mode);
    EXPECT_EQ(xdp_program("lan0") != 0, mode != AttachMode::tc);
    EXPECT_EQ(plane().attached()->front().mode, mode);
  }
  ASSERT_TRUE(plane().detach_all());
  EXPECT_EQ(difference(before, everything()), "");
}

TEST_F(AttachTest, RowOfTheLinkAndTheNode) {
  const auto socket_link = attach("lan0");
  auto tables = plane().installed();
  ASSERT_TRUE(tables) << tables.error().text;
  ASSERT_EQ(tables->links.size(), 1u);
  const auto& [key, row] = *tables->links.begin();
  EXPECT_EQ(key.ifindex, ifindex("lan0"));
  EXPECT_EQ(row.l3_ifindex, ifindex("lan0"));
  EXPECT_EQ(row.role, XLB_LINK_LAN);
  EXPECT_EQ(row.flags, XLB_LINK_MADE_CLSACT);
  EXPECT_EQ(row.link_bit, 1u);
  Mac mac;
  std::copy(std::begin(row.mac), std::end(row.mac), mac.bytes.begin());
  EXPECT_TRUE(has(output("ip link show lan0"), mac.text()));
  EXPECT_EQ(node().lease_boot_ns, XLB_FOREVER);
  EXPECT_EQ(node().epoch, 1u);
  EXPECT_EQ(node().try_mono_ns, 0u);
  EXPECT_EQ(node().tcp_idle_ns, XLB_TCP_IDLE_DEFAULT_NS);
  EXPECT_EQ(node().reject_per_second, XLB_REJECT_PER_SECOND_DEFAULT);
  EXPECT_EQ(node().abi_version, XLB_ABI_VERSION);
}

TEST_F(AttachTest, TwoLinksShareTheTables) {
  const std::string before = everything();
  attach("lan0");
  const std::string one = everything();
  attach("lan1", AttachMode::generic);
  auto tables = plane().installed();
  ASSERT_TRUE(tables);
  std::uint32_t bits = 0;
  for (const auto& [key, row] : tables->links) bits += row.link_bit;
  EXPECT_EQ(bits, 3u) << "each has a bit of its own";
  ASSERT_TRUE(plane().detach("lan1"));
  EXPECT_EQ(difference(one, everything()), "");
  ASSERT_TRUE(plane().detach("lan0"));
  EXPECT_EQ(difference(before, everything()), "");
}

TEST_F(AttachTest, NodeSettingsAndFlowsSurviveAnotherAttach) {
  attach("lan0");
  node_row().set_epoch(7);
  node_row().set_lease(12345);
  attach("lan0", AttachMode::generic);
  attach("lan1");
  EXPECT_EQ(node().epoch, 7u);
  EXPECT_EQ(node().lease_boot_ns, 12345u);
}

// ---- refusals
// -------------------------------------------------------------------------------------------------------

TEST_F(AttachTest, InterfacesThatCannotBe) {
  EXPECT_TRUE(has(refusal({"eth7", AttachMode::tc, {}, {}}), "no interface eth7"));
  EXPECT_TRUE(has(refusal({"lo", AttachMode::tc, {}, {}}), "loopback"));
  EXPECT_TRUE(has(refusal({"pod0", AttachMode::tc, {}, {}}), "port of the bridge cni0"));
  run("ip link set lan1 down");
  EXPECT_TRUE(has(refusal({"lan1", AttachMode::tc, {}, {}}), "lan1 is down"));
  const auto gone = plane().detach("lan0");
  ASSERT_FALSE(gone);
  EXPECT_TRUE(has(gone.error().text, "lan0 is not attached"));
  const auto upgraded = plane().upgrade();
  ASSERT_FALSE(upgraded);
  EXPECT_TRUE(has(upgraded.error().text, "nothing is attached"));
}

TEST_F(AttachTest, InterfaceWithoutMac) {
  if (output("ip tuntap add dev tun0 mode tun 2>/dev/null && ip link set tun0 up && echo made || true").empty()) {
    GTEST_SKIP() << "this kernel has no tun device";
  }
  EXPECT_TRUE(has(refusal({"tun0", AttachMode::tc, {}, {}}), "tun0"));
}

TEST_F(AttachTest, VlanDevice) {
  if (output("ip link add link lan0 name lan0.5 type vlan id 5 2>/dev/null && echo made || true").empty()) {
    GTEST_SKIP() << "this kernel has no 8021q";
  }
  run("ip link set lan0.5 up");
  EXPECT_TRUE(has(refusal({"lan0.5", AttachMode::tc, {}, {}}), "attach to lan0"));
  attach("lan0");
  auto tables = plane().installed();
  ASSERT_TRUE(tables);
  ASSERT_TRUE(tables->links.contains({ifindex("lan0"), 5}));
  EXPECT_EQ(tables->links.at({ifindex("lan0"), 5}).l3_ifindex, ifindex("lan0.5"));
}

TEST_F(AttachTest, PlaceOfPinsThatIsNoBpfFilesystem) {
  auto plane = open_data_plane("/tmp/xlb-not-bpffs");
  ASSERT_TRUE(plane);
  const std::string before = everything();
  const auto link = (*plane)->attach({"lan0", AttachMode::tc, {}, {}});
  ASSERT_FALSE(link);
  EXPECT_TRUE(has(link.error().text, "no bpf filesystem")) << link.error().text;
  EXPECT_EQ(difference(before, everything()), "");
  EXPECT_FALSE(exists("/tmp/xlb-not-bpffs"));
  EXPECT_FALSE(open_data_plane("relative/path"));
}

TEST_F(AttachTest, ControlGroupThatIsNone) {
  EXPECT_TRUE(has(refusal({"lan0", AttachMode::tc, {}, "/nonexistent"}), "/nonexistent"));
  EXPECT_TRUE(has(refusal({"lan0", AttachMode::tc, {}, "/tmp"}), "/tmp is no control group"));
}

TEST_F(AttachTest, ForeignXdpProgramIsNamedAndStays) {
  auto theirs = foreign_program(true, 2, "their_xdp");
  ASSERT_TRUE(theirs) << theirs.error().text;
  const File link(bpf_link_create(theirs->get(), static_cast<int>(ifindex("lan0")), BPF_XDP, nullptr));
  ASSERT_TRUE(link) << errno;
  const std::uint32_t id = xdp_program("lan0");
  for (const AttachMode mode : {AttachMode::native, AttachMode::generic}) {
    const std::string said = refusal({"lan0", mode, {}, {}});
    EXPECT_TRUE(has(said, "their_xdp (program id " + std::to_string(id) + ")")) << said;
  }
  for (const AttachMode mode : {AttachMode::automatic, AttachMode::tc}) {
    const AttachedLink attached = attach("lan0", mode);
    EXPECT_EQ(attached.mode, AttachMode::tc);
    EXPECT_TRUE(has(attached.reason, "their_xdp")) << attached.reason;
    EXPECT_EQ(id, xdp_program("lan0"));
  }
  ASSERT_TRUE(plane().detach_all());
  EXPECT_EQ(id, xdp_program("lan0"));
}

TEST_F(AttachTest, ForeignFilterAtOurPlaceIsNamedAndStays) {
  auto theirs = foreign_program(false, TC_ACT_UNSPEC, "their_tc");
  ASSERT_TRUE(theirs);
  ASSERT_EQ(bpf_obj_pin(theirs->get(), (pin_dir() + "-their").c_str()), 0);
  run("tc qdisc add dev lan0 clsact; tc filter add dev lan0 egress pref 49374 handle 1 bpf da object-pinned " +
      pin_dir() + "-their");
  const std::string said = refusal({"lan0", AttachMode::tc, {}, {}});
  EXPECT_TRUE(has(said, "their_tc")) << said;
  EXPECT_TRUE(has(said, "tc egress of lan0")) << said;
  unlink((pin_dir() + "-their").c_str());
}

TEST_F(AttachTest, ForeignFilterBesideOursIsNamedAndKeepsItsQdisc) {
  auto theirs = foreign_program(false, TC_ACT_UNSPEC, "their_tc");
  ASSERT_TRUE(theirs);
  ASSERT_EQ(bpf_obj_pin(theirs->get(), (pin_dir() + "-their").c_str()), 0);
  run("tc qdisc add dev lan0 clsact; tc filter add dev lan0 ingress pref 10 bpf da object-pinned " + pin_dir() +
      "-their");
  const std::string before = everything();
  const AttachedLink link = attach("lan0");
  EXPECT_TRUE(has(link.reason, "their_tc")) << link.reason;
  EXPECT_TRUE(has(link.reason, "priority 10, before ours")) << link.reason;
  EXPECT_EQ(plane().installed()->links.begin()->second.flags, 0u) << "the qdisc is theirs";
  ASSERT_TRUE(plane().detach("lan0"));
  EXPECT_EQ(difference(before, everything()), "");
  unlink((pin_dir() + "-their").c_str());
}

TEST_F(AttachTest, FilterThatComesLaterKeepsTheQdisc) {
  auto theirs = foreign_program(false, TC_ACT_UNSPEC, "their_tc");
  ASSERT_TRUE(theirs);
  ASSERT_EQ(bpf_obj_pin(theirs->get(), (pin_dir() + "-their").c_str()), 0);
  attach("lan0");
  run("tc filter add dev lan0 egress pref 5 bpf da object-pinned " + pin_dir() + "-their");
  ASSERT_TRUE(plane().detach("lan0"));
  EXPECT_TRUE(has(filters("lan0"), "their_tc"));
  EXPECT_FALSE(has(filters("lan0"), "xlb_"));
  unlink((pin_dir() + "-their").c_str());
}

TEST_F(AttachTest, EmptyQdiscOfOthersStays) {
  run("tc qdisc add dev lan0 clsact");
  const std::string before = everything();
  attach("lan0");
  ASSERT_TRUE(plane().detach("lan0"));
  EXPECT_EQ(difference(before, everything()), "");
}

TEST_F(AttachTest, IngressQdiscOfOthersLeavesNoRoom) {
  run("tc qdisc add dev lan0 ingress");
  EXPECT_TRUE(has(refusal({"lan0", AttachMode::tc, {}, {}}), "ingress qdisc"));
}

TEST_F(AttachTest, TcxProgramIsNamed) {
  constexpr auto tcx_ingress = static_cast<bpf_attach_type>(46);
  bpf_insn code[] = {{BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, -1}, {BPF_JMP | BPF_EXIT, 0, 0, 0, 0}};
  LIBBPF_OPTS(bpf_prog_load_opts, options, .expected_attach_type = tcx_ingress);
  const File program(bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "their_tcx", "GPL", code, 2, &options));
  if (!program) GTEST_SKIP() << "this kernel has no tcx";
  const File link(bpf_link_create(program.get(), static_cast<int>(ifindex("lan0")), tcx_ingress, nullptr));
  if (!link) GTEST_SKIP() << "this kernel or libbpf has no tcx links";
  const AttachedLink attached = attach("lan0");
  EXPECT_TRUE(has(attached.reason, "their_tcx")) << attached.reason;
}

TEST_F(AttachTest, AnotherXdpLbOnTheSameInterface) {
  attach("lan0");
  auto other = open_data_plane(pin_dir() + "-other");
  ASSERT_TRUE(other);
  const std::string before = everything();
  const auto link = (*other)->attach({"lan0", AttachMode::tc, {}, {}});
  ASSERT_FALSE(link);
  EXPECT_TRUE(has(link.error().text, "another xdp-lb")) << link.error().text;
  EXPECT_EQ(difference(before, everything()), "");
}

// ---- sizes of tables
// --------------------------------------------------------------------------------------------------

TEST_F(AttachTest, TablesAreMadeAsLargeAsAskedFor) {
  const TableSizes wanted{{"flows", 70000}, {"services", 8192}, {"backends", 40000}, {"slots", 4096}, {"sources", 100}};
  const auto link = plane().attach({"lan0", AttachMode::tc, {}, {}, wanted});
  ASSERT_TRUE(link) << link.error().text;
  EXPECT_FALSE(has(link->reason, "sizes")) << link->reason;
  const auto tables = KernelTables::open(pin_dir());
  ASSERT_TRUE(tables) << tables.error().text;
  EXPECT_EQ(tables->sizes(), wanted);
  EXPECT_TRUE(has(output("bpftool map show pinned " + tables_folder() + "/xlb_svc_stats"), "max_entries 8192"));
  const auto capacity = plane().capacity();
  ASSERT_TRUE(capacity);
  EXPECT_EQ(capacity->services, 8192u);
  EXPECT_EQ(capacity->slots, 4096u);
}

TEST_F(AttachTest, TablesThatAreThereKeepTheirSizes) {
  ASSERT_TRUE(plane().attach({"lan0", AttachMode::tc, {}, {}, {{"backends", 40000}}}));
  const auto same = plane().attach({"lan0", AttachMode::tc, {}, {}, {{"backends", 40000}}});
  ASSERT_TRUE(same) << same.error().text;
  EXPECT_FALSE(has(same->reason, "sizes")) << same->reason;
  const auto other = plane().attach({"lan1", AttachMode::tc, {}, {}, {{"backends", 50000}, {"slots", XLB_DEFAULT_SLOTS}}});
  ASSERT_TRUE(other) << other.error().text;
  EXPECT_TRUE(has(other->reason, "the tables that are there keep their sizes, backends=40000: to have them made anew, "
                                 "xdp-lb detach --all"))
      << other->reason;
  EXPECT_EQ(plane().capacity()->backends, 40000u);
  ASSERT_TRUE(plane().upgrade());
  EXPECT_EQ(plane().capacity()->backends, 40000u);
}

// ---- other layouts
// --------------------------------------------------------------------------------------------------

TEST_F(AttachTest, TablesOfAnotherLayoutInUse) {
  attach("lan0", AttachMode::generic);
  ASSERT_EQ(rename(tables_folder().c_str(), (pin_dir() + "/v9999").c_str()), 0);
  const std::string said = refusal({"lan0", AttachMode::tc, {}, {}});
  EXPECT_TRUE(has(said, "detach --all")) << said;
  EXPECT_TRUE(has(said, "v9999")) << said;
  const auto upgraded = plane().upgrade();
  ASSERT_FALSE(upgraded);
  EXPECT_TRUE(has(upgraded.error().text, "detach --all"));
  ASSERT_TRUE(plane().detach_all());
  EXPECT_FALSE(has(everything(), "xlb_"));
  EXPECT_FALSE(has(everything(), "clsact"));
  EXPECT_EQ(xdp_program("lan0"), 0u);
}

TEST_F(AttachTest, UnusedTablesOfAnotherLayoutGo) {
  const std::string before = everything();
  ASSERT_EQ(mkdir(pin_dir().c_str(), 0700), 0);
  ASSERT_EQ(mkdir((pin_dir() + "/v9999").c_str(), 0700), 0);
  EXPECT_TRUE(has(attach("lan0").reason, "v9999"));
  EXPECT_FALSE(exists(pin_dir() + "/v9999"));
  ASSERT_TRUE(plane().detach_all());
  EXPECT_EQ(difference(before, everything()), "");
}

TEST_F(AttachTest, HalfMadePinsOfACrashAreMended) {
  const std::string before = everything();
  attach("lan0");
  ASSERT_TRUE(plane().detach_all());
  ASSERT_EQ(mkdir(pin_dir().c_str(), 0700), 0);
  ASSERT_EQ(mkdir((tables_folder() + "-new").c_str(), 0700), 0);
  ASSERT_EQ(mkdir((pin_dir() + "/programs").c_str(), 0700), 0);
  attach("lan0");
  EXPECT_FALSE(exists(tables_folder() + "-new"));
  ASSERT_TRUE(plane().detach_all());
  EXPECT_EQ(difference(before, everything()), "");
}

TEST_F(AttachTest, PinsRemovedByHandAreSwept) {
  const std::string before = everything();
  attach("lan0");
  run("rm -r " + pin_dir());
  EXPECT_TRUE(has(refusal({"lan0", AttachMode::tc, {}, {}}), "another xdp-lb"));
  ASSERT_TRUE(plane().detach_all());
  EXPECT_FALSE(has(everything(), "xlb_"));
  run("tc qdisc del dev lan0 clsact");  // whose it was, only the pins knew
  EXPECT_EQ(difference(before, everything()), "");
}

TEST_F(AttachTest, OnePinRemovedByHand) {
  const std::string before = everything();
  for (const char* pin : {"xlb_node", "xlb_flows", "xlb_links"}) {
    attach("lan0", AttachMode::generic);
    run("rm " + tables_folder() + "/" + pin + " " + pin_dir() + "/programs/build-* -r");
    const std::string said = refusal({"lan0", AttachMode::tc, {}, {}});
    EXPECT_TRUE(has(said, pin)) << said;
    EXPECT_TRUE(has(said, "detach --all")) << said;
    const auto gone = plane().detach_all();
    ASSERT_TRUE(gone) << gone.error().text;
    EXPECT_EQ(difference(before, everything()), "") << pin;
  }
}

TEST_F(AttachTest, InterfaceThatHasGone) {
  attach("lan0", AttachMode::generic);
  run("ip link del lan0");
  const auto listed = plane().attached();
  ASSERT_TRUE(listed);
  EXPECT_TRUE(listed->empty());
  ASSERT_TRUE(plane().detach_all());
  EXPECT_FALSE(exists(pin_dir()));
}

TEST_F(AttachTest, InterfaceThatCameBackUnderTheSameName) {
  attach("lan0", AttachMode::generic);
  run("ip link del lan0; ip link add lan0 type veth peer name back0; ip link set lan0 up; ip link set back0 up");
  attach("lan0", AttachMode::generic);
  EXPECT_EQ(plane().installed()->links.size(), 1u);
  EXPECT_EQ(plane().attached()->size(), 1u);
  EXPECT_EQ(list_folder(pin_dir() + "/links")->size(), 1u);
}

// ---- trial
// ----------------------------------------------------------------------------------------------------------

TEST_F(AttachTest, TrialEndsByItselfOrIsConfirmed) {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  const auto before = static_cast<std::uint64_t>(now.tv_sec) * XLB_SECOND_NS;
  auto link = plane().attach({"lan0", AttachMode::tc, 30s, {}});
  ASSERT_TRUE(link) << link.error().text;
  EXPECT_GE(node().try_mono_ns, before + 30 * XLB_SECOND_NS);
  EXPECT_LE(node().try_mono_ns, before + 33 * XLB_SECOND_NS);
  attach("lan0");
  EXPECT_EQ(node().try_mono_ns, 0u);
  // One deadline for the whole node: a trial must not end what is in force for good.
  EXPECT_TRUE(has(refusal({"lan1", AttachMode::tc, 30s, {}}), "lan0"));
  EXPECT_EQ(node().try_mono_ns, 0u);
}

TEST_F(AttachTest, FailedTrialOfTheSameLinkKeepsItInForce) {
  attach("cni0");
  EXPECT_TRUE(has(refusal({"cni0", AttachMode::native, 30s, {}}), "no native XDP"));
  EXPECT_EQ(node().try_mono_ns, 0u);
  EXPECT_EQ(plane().attached()->size(), 1u);
}

// ---- upgrade
// --------------------------------------------------------------------------------------------------------

TEST_F(AttachTest, UpgradeSwapsProgramsAndKeepsTables) {
  const std::string cgroup = make_cgroup();
  auto link = plane().attach({"lan0", AttachMode::generic, {}, cgroup});
  ASSERT_TRUE(link) << link.error().text;
  attach("lan1");
  node_row().set_epoch(3);
  const std::uint32_t old_xdp = xdp_link("lan0").program_id, old_map = pinned_map(tables_folder() + "/xlb_flows");
  const std::string old_filters = filters("lan1");
  for (int round = 0; round < 3; ++round) {
    const auto upgraded = plane().upgrade();
    ASSERT_TRUE(upgraded) << upgraded.error().text;
  }
  EXPECT_NE(old_xdp, xdp_link("lan0").program_id);
  EXPECT_EQ(xdp_program("lan0"), xdp_link("lan0").program_id);
  EXPECT_NE(old_filters, filters("lan1")) << "the program id is in the listing";
  EXPECT_EQ(old_map, pinned_map(tables_folder() + "/xlb_flows"));
  EXPECT_EQ(node().epoch, 3u);
  EXPECT_EQ(plane().attached()->size(), 2u);
  // The kernel lets go of what was pinned in its own time.
  for (int wait = 0; wait < 500 && !program_facts(old_xdp).name.empty(); ++wait) usleep(20000);
  EXPECT_TRUE(program_facts(old_xdp).name.empty()) << "something holds the old programs";
}

// ---- socket programs
// ------------------------------------------------------------------------------------------------

TEST_F(AttachTest, SocketProgramsComeAndGo) {
  const std::string cgroup = make_cgroup();
  if (cgroup.empty()) GTEST_SKIP() << "no cgroup v2 is mounted here, or no group can be made";
  auto link = plane().attach({"lan0", AttachMode::tc, {}, cgroup});
  ASSERT_TRUE(link) << link.error().text;
  if (has(link->reason, "no socket programs")) GTEST_SKIP() << link->reason;
  EXPECT_EQ(programs_at(cgroup), 8u);
  link = plane().attach({"lan0", AttachMode::tc, {}, cgroup});
  ASSERT_TRUE(link) << link.error().text;
  EXPECT_EQ(programs_at(cgroup), 8u);
  attach("lan0");  // --cgroup none
  EXPECT_EQ(programs_at(cgroup), 0u);
  link = plane().attach({"lan0", AttachMode::tc, {}, cgroup});
  ASSERT_TRUE(link);
  ASSERT_TRUE(plane().detach("lan0"));
  EXPECT_EQ(programs_at(cgroup), 0u);
}

TEST(FlowTable, SizedByTheMachine) {
  EXPECT_EQ(flow_table_entries(0), 65536u);
  EXPECT_EQ(flow_table_entries(512ull << 20), 65536u);
  EXPECT_EQ(flow_table_entries(4ull << 30), (4ull << 30) / 64 / 176);
  EXPECT_EQ(flow_table_entries(1ull << 40), 1u << 20);
}

}  // namespace
}  // namespace xlb
