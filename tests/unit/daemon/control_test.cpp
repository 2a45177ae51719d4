// SPDX-License-Identifier: Apache-2.0
#include "userspace/daemon/control.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <thread>

#include "tests/unit/daemon/fakes.hpp"
#include "userspace/daemon/request.hpp"

namespace xlb {
namespace {

class ControlTest : public testing::Test {
 protected:
  void SetUp() override {
    auto loop = Loop::open();
    ASSERT_TRUE(loop);
    loop_ = std::make_unique<Loop>(std::move(*loop));
    auto server = ControlServer::open(*loop_, file(), {[this](int connection, const std::string& line) { on_line(connection, line); },
                                                       [this](int) { ++closed_; }});
    ASSERT_TRUE(server) << server.error().text;
    server_ = std::move(*server);
  }
  std::filesystem::path file() const { return folder_.path() / "run" / "control.sock"; }
  // Serves until the client's thread is done.
  void serve(const std::function<void()>& client) {
    std::atomic<bool> done = false;
    std::thread thread([&] {
      client();
      done = true;
    });
    while (!done) ASSERT_TRUE(loop_->turn(Loop::Clock::now() + std::chrono::milliseconds(5)));
    thread.join();
    for (int i = 0; i < 5; ++i) ASSERT_TRUE(loop_->turn(Loop::Clock::now() + std::chrono::milliseconds(2)));
  }
  void on_line(int connection, const std::string& line) {
    lines_.push_back(line);
    if (line == "big") {
      server_->send(connection, std::string(4u << 20, 'x') + "\n");
    } else {
      server_->send(connection, "echo " + line + "\n");
    }
    if (line != "stay") server_->finish(connection);
  }

  fake::Folder folder_;
  std::unique_ptr<Loop> loop_;
  std::unique_ptr<ControlServer> server_;
  std::vector<std::string> lines_;
  int closed_ = 0;
};

TEST_F(ControlTest, AnswersALineAndCloses) {
  serve([&] {
    auto client = ControlClient::connect(file());
    ASSERT_TRUE(client && *client);
    ASSERT_TRUE((*client)->send("hello\n"));
    auto line = (*client)->line();
    ASSERT_TRUE(line && *line);
    EXPECT_EQ(**line, "echo hello");
    line = (*client)->line();
    ASSERT_TRUE(line);
    EXPECT_FALSE(*line) << "closed";
  });
  EXPECT_EQ(closed_, 1);
}

TEST_F(ControlTest, ALineMayComeInPieces) {
  serve([&] {
    auto client = ControlClient::connect(file());
    ASSERT_TRUE(client && *client);
    for (const char* piece : {"sta", "y\nst", "ay\n"}) {
      ASSERT_TRUE((*client)->send(piece));
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    for (int i = 0; i < 2; ++i) {
      auto line = (*client)->line();
      ASSERT_TRUE(line && *line);
      EXPECT_EQ(**line, "echo stay");
    }
  });
  EXPECT_EQ(lines_, (std::vector<std::string>{"stay", "stay"}));
  EXPECT_EQ(closed_, 1) << "the client left";
}

TEST_F(ControlTest, ABigAnswerIsSentWhole) {
  serve([&] {
    auto client = ControlClient::connect(file());
    ASSERT_TRUE(client && *client);
    ASSERT_TRUE((*client)->send("big\n"));
    std::this_thread::sleep_for(std::chrono::milliseconds(50));  // the server has to queue
    auto line = (*client)->line();
    ASSERT_TRUE(line && *line);
    EXPECT_EQ((*line)->size(), 4u << 20);
  });
}

TEST_F(ControlTest, AnEndlessLineIsCutOff) {
  serve([&] {
    auto client = ControlClient::connect(file());
    ASSERT_TRUE(client && *client);
    const std::string chunk(1u << 20, 'a');
    for (std::size_t sent = 0; sent <= kControlLineBytes + 2 * chunk.size(); sent += chunk.size())
      ASSERT_TRUE((*client)->send(chunk));
    auto line = (*client)->line();
    EXPECT_TRUE(!line || !*line);
  });
  EXPECT_TRUE(lines_.empty());
  EXPECT_EQ(closed_, 1);
}

TEST_F(ControlTest, TheSocketIsForItsOwnerOnly) {
  struct stat facts {};
  ASSERT_EQ(stat(file().c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 0777u, 0600u);
}

TEST_F(ControlTest, NoDaemonIsNotAnError) {
  auto missing = ControlClient::connect(folder_.path() / "nothing.sock");
  ASSERT_TRUE(missing);
  EXPECT_FALSE(*missing);
  // A file that a killed daemon left behind.
  const auto stale = folder_.path() / "stale.sock";
  {
    auto server = ControlServer::open(*loop_, stale, {[](int, const std::string&) {}, [](int) {}});
    ASSERT_TRUE(server);
    std::filesystem::create_hard_link(stale, folder_.path() / "kept.sock");
  }
  auto dead = ControlClient::connect(folder_.path() / "kept.sock");
  ASSERT_TRUE(dead) << dead.error().text;
  EXPECT_FALSE(*dead);
}

}  // namespace
}  // namespace xlb
