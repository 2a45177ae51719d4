// SPDX-License-Identifier: Apache-2.0
// compile() over random histories of intents.
#include <algorithm>
#include <map>

#include "tests/unit/core/tables.hpp"
#include "userspace/core/plan.hpp"
#include "userspace/core/tables.hpp"

namespace xlb {
namespace {

// What a client sees: for each VIP and port, the endpoint behind every slot.
std::map<std::string, std::vector<std::pair<std::string, std::string>>> behaviour(const Tables& tables) {
  const auto text = [&](std::uint32_t id) {
    if (id == 0) return std::string();
    const lb_backend& row = tables.backends.at(id);
    return Address::from_abi(row.address).text() + " " + std::to_string(row.port) + " " + std::to_string(row.flags);
  };
  std::map<std::string, std::vector<std::pair<std::string, std::string>>> result;
  for (const auto& [vip, vip_row] : tables.vips) {
    for (const auto& [key, row] : tables.services) {
      if (key.vip_id != vip_row.vip_id) continue;
      auto& slots = result[vip.text() + " " + std::to_string(key.port) + protocol_text(key.protocol) + " " +
                           std::to_string(row.hash_seed) + " " + std::to_string(row.flags)];
      if (row.slot_count == 0) continue;
      for (const lb_slot& slot : tables.slots.at(row.slot_base).rows())
        slots.emplace_back(text(slot.first), text(slot.second));
    }
  }
  return result;
}

TEST(CompileProperties, OwnSlotsListBackendsOfThisNodeOnly) {
  for (std::uint32_t seed = 0; seed < 60; ++seed) {
    test::Random random(3000 + seed);
    const auto tables = compile(test::random_desired(random), {}, {}, 1);
    ASSERT_TRUE(tables) << tables.error().text;
    for (const auto& [key, row] : tables->services) {
      if (row.local_slot_count == 0) continue;
      ASSERT_EQ(row.local_slot_count, row.slot_count);
      const std::vector<lb_slot> all = tables->slots.at(row.slot_base).rows();
      const std::vector<lb_slot> own = tables->slots.at(row.local_slot_base).rows();
      for (std::size_t i = 0; i < own.size(); ++i) {
        for (const std::uint32_t id : {own[i].first, own[i].second}) {
          if (id != 0) {
            ASSERT_EQ(tables->backends.at(id).node_id, 0u);
          }
        }
        if (tables->backends.at(all[i].first).node_id == 0) {
          ASSERT_EQ(own[i].first, all[i].first);
        }
      }
    }
  }
}

TEST(CompileProperties, HistoryDoesNotShow) {
  for (std::uint32_t seed = 0; seed < 40; ++seed) {
    test::Random random(seed);
    SlotMemory memory;
    Tables installed;
    for (int step = 0; step < 12; ++step) {
      const Desired desired = test::random_desired(random);
      const auto tables = compile(desired, installed, {}, 1, &memory);
      ASSERT_TRUE(tables) << tables.error().text;
      ASSERT_EQ(test::contradiction(*tables), "") << "seed " << seed << " step " << step;
      const auto afresh = compile(desired, {}, {}, 1);
      ASSERT_TRUE(afresh);
      ASSERT_EQ(behaviour(*tables), behaviour(*afresh)) << "seed " << seed << " step " << step;
      installed = *tables;
    }
  }
}

TEST(CompileProperties, IdsStayAndGenerationsGrow) {
  for (std::uint32_t seed = 0; seed < 40; ++seed) {
    test::Random random(1000 + seed);
    Tables before;
    for (int step = 0; step < 12; ++step) {
      const auto after = compile(test::random_desired(random), before, {}, 1);
      ASSERT_TRUE(after);
      for (const auto& [id, row] : before.backends) {
        const lb_backend& now = after->backends.at(id);  // an id that was ever given stays listed
        const bool same = same_row(row.address, now.address) && row.port == now.port && row.protocol == now.protocol;
        if (live(row) && live(now)) {
          ASSERT_TRUE(same);
          ASSERT_EQ(row.generation, now.generation);
        } else if (live(now)) {
          ASSERT_EQ(row.generation + 1, now.generation);
        } else {
          ASSERT_EQ(row.generation, now.generation);
        }
      }
      for (const auto& [vip, row] : before.vips) {
        if (after->vips.contains(vip)) {
          ASSERT_EQ(row.vip_id, after->vips.at(vip).vip_id);
        }
      }
      for (const auto& [key, row] : before.services) {
        const auto now = after->services.find(key);
        if (now == after->services.end()) continue;
        ASSERT_EQ(row.service_id, now->second.service_id);
        if (row.slot_count == now->second.slot_count) {
          ASSERT_EQ(row.slot_base, now->second.slot_base);
        }
      }
      before = *after;
    }
  }
}

TEST(CompileProperties, TinyTablesAreStillRight) {
  Capacity tiny;
  tiny.backends = 28;
  tiny.slots = 9400;
  tiny.services = 24;
  int refused = 0;
  int done = 0;
  for (std::uint32_t seed = 0; seed < 60; ++seed) {
    test::Random random(2000 + seed);
    Tables installed;
    for (int step = 0; step < 12; ++step) {
      const Desired desired = test::random_desired(random);
      const auto tables = compile(desired, installed, tiny, 1);
      if (!tables) {
        ASSERT_NE(tables.error().text.find(" is full: "), std::string::npos);
        ++refused;
        continue;
      }
      ASSERT_EQ(test::contradiction(*tables), "");
      for (const auto& [base, slots] : tables->slots) ASSERT_LE(base + slots.size(), tiny.slots);
      for (const auto& [id, row] : tables->backends) ASSERT_LT(id, tiny.backends);
      for (const auto& [key, row] : tables->services) ASSERT_LT(row.service_id, tiny.services);
      installed = *tables;
      ++done;
    }
  }
  EXPECT_GT(refused, 5);
  EXPECT_GT(done, 300);
}

}  // namespace
}  // namespace xlb
