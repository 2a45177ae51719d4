// SPDX-License-Identifier: Apache-2.0
#include "userspace/peers/refusal.hpp"

namespace xlb {

RefusalText refusal_text(Refusal refusal) {
  switch (refusal) {
    case Refusal::duplicate:
      return {"duplicate", "a copy of what has come already"};
    case Refusal::late:
      return {"late", "a newer one has come before it"};
    case Refusal::came_back:
      return {"came_back", "this node's own statement came back to it"};
    case Refusal::wrong_length:
      return {"wrong_length", "cut short, or longer than it says"};
    case Refusal::other_version:
      return {"other_version", "of another version of the wire form: run one version of xdp-lb on all nodes"};
    case Refusal::unknown_form:
      return {"unknown_form", "neither a statement nor one that was passed on"};
    case Refusal::passed_on_twice:
      return {"passed_on_twice", "passed on more than once"};
    case Refusal::impossible_piece:
      return {"impossible_piece", "a piece that no statement can have"};
    case Refusal::no_key_here:
      return {"no_key_here", "the sender has a key, this node has none: xdp-lb peer key --import FILE"};
    case Refusal::no_key_there:
      return {"no_key_there", "this node has a key, the sender has none: copy it there (xdp-lb peer key)"};
    case Refusal::other_key:
      return {"other_key", "the sender has another key than this node: compare xdp-lb peer key on both"};
    case Refusal::wrong_seal:
      return {"wrong_seal", "not made with the key that it names: damaged or forged"};
    case Refusal::stranger:
      return {"stranger", "from a MAC of no declared peer; without a key only those are heard"};
    case Refusal::not_its_name:
      return {"not_its_name", "from one peer's MAC in another node's name"};
    case Refusal::own_name:
      return {"own_name", "another node has this node's name: give one of them another (--node)"};
    case Refusal::replayed:
      return {"replayed", "older than what has come from the same node: recorded and sent again"};
    case Refusal::second_sender:
      return {"second_sender",
              "older than what has come in the same name from another MAC: two nodes with one name, or sent again"};
    case Refusal::piece_differs:
      return {"piece_differs", "two different pieces with one number: two nodes with one name"};
    case Refusal::abandoned:
      return {"abandoned", "its other pieces did not come in time"};
    case Refusal::crowded_out:
      return {"crowded_out", "too much was unfinished at once"};
    case Refusal::oversized:
      return {"oversized", "it has more VIPs, peers, addresses or text than there can be"};
    case Refusal::malformed:
      return {"malformed", "it makes no sense"};
  }
  return {"unknown", "unknown"};
}

}  // namespace xlb
