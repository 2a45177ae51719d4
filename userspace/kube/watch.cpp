// SPDX-License-Identifier: Apache-2.0
#include "userspace/kube/watch.hpp"

#include <algorithm>
#include <utility>

#include "userspace/kube/percent.hpp"

namespace xlb {

namespace {

// The first failures of a sort are nothing to speak of: versions grow old, servers restart.
constexpr unsigned kWorthMentioning = 3;
// More objects than that many pages hold are no cluster that this program is for.
constexpr unsigned kMostPages = 4000;

}  // namespace

std::optional<Watch::Question> Watch::ask(Time now, double chance) {
  if (under_way_ || now < next_) return std::nullopt;
  under_way_ = true;
  opened_ = false;
  heard_ = now;
  Question question;
  question.fresh_connection = std::exchange(fresh_, false);
  if (phase_ == Phase::list) {
    question.query = "limit=" + std::to_string(page_ == 0 ? pace_.page : page_);
    if (!more_.empty()) question.query += "&continue=" + percent_encoded(more_);
    return question;
  }
  const auto seconds =
      pace_.watch_time.count() + static_cast<std::int64_t>(static_cast<double>(pace_.watch_time.count()) * chance);
  question.watch = true;
  question.query = "watch=1&allowWatchBookmarks=true&timeoutSeconds=" + std::to_string(seconds) +
                   "&resourceVersion=" + percent_encoded(version_);
  return question;
}

Watch::Reaction Watch::tick(Time now, double chance) {
  Reaction reaction;
  if (!under_way_ || phase_ != Phase::watch) return reaction;
  if (unheard_ + now - heard_ >= pace_.silence) {
    settle(now);
    fresh_ = true;
    reaction = from_nothing(now, chance);
    reaction.give_up = true;
    if (failures_ >= kWorthMentioning) {
      reaction.trouble = "the API server's watch of " + subject_.resource + " is silent, not even a bookmark comes";
      told_ = true;
    }
    return reaction;
  }
  settle(now);
  if (told_ && failures_ == 0) {
    told_ = false;
    reaction.over = true;
  }
  return reaction;
}

Watch::Time Watch::wake() const {
  if (!under_way_) return next_;
  if (phase_ != Phase::watch) return Time::max();
  const Time silent = heard_ + pace_.silence - unheard_;
  return opened_ && failures_ > 0 ? std::min(silent, opened_at_ + pace_.settled) : silent;
}

// Called wherever the clock is known: a watch that has held ends the series of failures.
void Watch::settle(Time now) {
  if (phase_ == Phase::watch && opened_ && now - opened_at_ >= pace_.settled) failures_ = 0;
}

void Watch::wait(Time now, double chance, Time at_least) {
  under_way_ = false;
  ++failures_;
  Time wait = pace_.first_wait;
  for (unsigned i = 1; i < failures_ && wait < pace_.longest_wait; ++i) wait *= 2;
  wait = std::min(wait, pace_.longest_wait);
  const auto half = wait.count() / 2;
  wait = Time(half + static_cast<std::int64_t>(static_cast<double>(half) * chance));
  next_ = now + std::max(wait, std::min(at_least, pace_.longest_asked_wait));
}

Watch::Reaction Watch::from_nothing(Time now, double chance) {
  wait(now, chance);
  phase_ = Phase::list;
  version_.clear();
  more_.clear();
  unheard_ = Time{0};
  Reaction reaction;
  if (pages_ > 0) reaction.objects = Objects::forget;
  pages_ = 0;
  return reaction;
}

Watch::Reaction Watch::page(const std::string& version, const std::string& more, Time now, double chance) {
  if (!more.empty() && pages_ >= kMostPages) {
    return failed({Failure::Kind::nonsense, 0, "a list without an end", {}}, now, chance);
  }
  Reaction reaction;
  under_way_ = false;
  troubled_ = false;
  next_ = now;
  ++pages_;
  more_ = more;
  if (!more_.empty()) return reaction;
  pages_ = 0;
  version_ = version;
  phase_ = Phase::watch;
  reaction.objects = Objects::commit;
  return reaction;
}

void Watch::opened(Time now) {
  opened_ = true;
  troubled_ = false;
  opened_at_ = now;
}

void Watch::line(const std::string& version, Time now) {
  heard_ = now;
  unheard_ = Time{0};
  version_ = version;
}

Watch::Reaction Watch::ended(Time now, double chance) {
  settle(now);
  unheard_ += now - heard_;
  if (unheard_ >= pace_.silence) return from_nothing(now, chance);
  if (now - opened_at_ >= pace_.settled) {
    under_way_ = false;
    next_ = now;
    return {};
  }
  wait(now, chance);
  return {};
}

// Whatever was asked, by another connection.
Watch::Reaction Watch::again(Time now, double chance) {
  fresh_ = true;
  if (opened_) unheard_ += now - heard_;
  if (unheard_ >= pace_.silence) return from_nothing(now, chance);
  wait(now, chance);
  return {};
}

// A cut says little by itself. Cuts between other failures neither hide what those say nor count with them.
Watch::Reaction Watch::cut(const Failure& failure, Time now, double chance) {
  if (failures_ == 0) {
    cuts_ = 0;
    alike_ = 0;
  }
  Reaction reaction = again(now, chance);
  if (++cuts_ < kWorthMentioning) return reaction;
  reaction.trouble = "the API server's connections are cut before it has answered: " + failure.text;
  troubled_ = true;
  told_ = true;
  return reaction;
}

Watch::Reaction Watch::failed(const Failure& failure, Time now, double chance) {
  settle(now);
  if (failure.kind == Failure::Kind::cut) return cut(failure, now, chance);
  cuts_ = 0;
  const auto sort = std::pair(failure.kind, failure.status);
  alike_ = failures_ > 0 && sort == sort_ ? alike_ + 1 : 1;
  sort_ = sort;
  Reaction reaction;
  const std::string about = " of " + subject_.resource;
  switch (failure.kind) {
    case Failure::Kind::unreachable:
      reaction = again(now, chance);
      reaction.trouble = "the API server cannot be reached: " + failure.text;
      break;
    case Failure::Kind::cut:
      break;  // seen to above
    case Failure::Kind::status:
      return failed_status(failure, now, chance);
    case Failure::Kind::event:
      reaction = from_nothing(now, chance);
      if (alike_ < kWorthMentioning) return reaction;
      reaction.trouble =
          "the API server ends each watch" + about + " (" + std::to_string(failure.status) + "): " + failure.text;
      break;
    case Failure::Kind::too_long:
      if (phase_ == Phase::list) {
        const unsigned page = page_ == 0 ? pace_.page : page_;
        page_ = std::max(1U, page / 4);
        reaction = from_nothing(now, chance);
        if (page > 1) return reaction;
      } else {
        reaction = from_nothing(now, chance);
      }
      reaction.trouble =
          "the API server's answer to " + verb() + " " + subject_.resource + " is too long: " + failure.text;
      break;
    case Failure::Kind::nonsense:
      reaction = from_nothing(now, chance);
      fresh_ = true;
      reaction.trouble =
          "what the API server says" + about + " makes no sense, they are listed anew: " + failure.text;
      break;
  }
  troubled_ = true;
  told_ = true;
  return reaction;
}

std::string Watch::refused(const Failure& failure) const {
  return "the API server refuses to " + verb() + " " + subject_.resource + " (" + std::to_string(failure.status) +
         ")" + (failure.text.empty() ? "" : ": " + failure.text);
}

Watch::Reaction Watch::failed_status(const Failure& failure, Time now, double chance) {
  Reaction reaction;
  switch (failure.status) {
    case 401:
      reaction.trouble =
          "the API server does not know us (401): the token or the client certificate has expired or is not "
          "one of this cluster" +
          (failure.text.empty() ? "" : ": " + failure.text);
      reaction.renew_credentials = true;
      wait(now, chance);
      break;
    case 403:
      reaction.trouble = refused(failure) + "; grant list and watch on " + subject_.resource +
                         (subject_.group.empty() ? "" : "." + subject_.group);
      wait(now, chance);
      break;
    case 404:
      reaction = from_nothing(now, chance);
      if (subject_.optional) {
        // Asked again now and then, since somebody may bring the kind.
        next_ = now + pace_.longest_wait;
        failures_ = 0;
        troubled_ = false;
        reaction.objects = Objects::absent;
        reaction.over = std::exchange(told_, false);
        return reaction;
      }
      reaction.trouble = refused(failure) + ": it does not have them; is it older than Kubernetes 1.21?";
      break;
    case 429:
    case 500:
    case 502:
    case 503:
      wait(now, chance, failure.retry_after);
      reaction.trouble = refused(failure);
      break;
    default:  // 410, 504 and whatever else may be due to the version or the token
      reaction = from_nothing(now, chance);
      reaction.trouble = refused(failure);
      break;
  }
  if (alike_ < kWorthMentioning) {
    reaction.trouble.clear();
    return reaction;
  }
  troubled_ = true;
  told_ = true;
  return reaction;
}

}  // namespace xlb
