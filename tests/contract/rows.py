# SPDX-License-Identifier: Apache-2.0
"""What a user of MetalLB's layer-2 mode finds again here, row by row, and the tests that hold it.

A test is named with its step: `unit Suite.Test` (with all its parameters), `packet Suite`, `lab story.Class.test` (in all its
modes), `kube story.Class.test`.
"""

ROWS: dict[str, list[tuple[str, list[str]]]] = {
    "Pools": [
        ("the tutorials' manifest is taken as it is", [
            "unit Pool.TheTutorialsManifestIsReadUnchanged",
            "kube story_tutorial.Tutorial.test_the_reader_sees_what_the_tutorial_shows",
        ]),
        ("addresses: CIDR, or start-end with blanks around the hyphen; families may mix, not within a range", [
            "unit Pool.RangesAreCidrsOrStartAndEnd",
        ]),
        ("bare addresses, reversed and mixed ranges are refused in MetalLB's words", [
            "unit Pool.BadRangesAreRefusedInMetallbsWords",
        ]),
        ("host bits of a CIDR are masked, and it is said", ["unit Pool.HostBitsAreMaskedAndSaid"]),
        ("autoAssign: false gives only what is asked for; avoidBuggyIPs leaves .0 and .255 out", [
            "unit Allocator.AutoAssignAndAvoidedAddresses",
        ]),
        ("serviceAllocation: priority, namespaces and selectors", [
            "unit Pool.ServiceAllocationIsRead",
            "unit Allocator.PinnedPoolsGoFirstByPriority",
        ]),
        ("a pool with serviceAllocation is never among the others", [
            "unit Allocator.APoolWithAServiceAllocationIsNeverAmongTheOthers",
        ]),
        ("namespaceSelectors that match nothing admit requests only", [
            "unit Allocator.NamespaceSelectorsThatMatchNothingAdmitRequestsOnly",
        ]),
        ("status: assigned and available, by family", [
            "unit WritesTest.PoolsAreCountedByFamily",
            "kube story_tutorial.Tutorial.test_the_reader_sees_what_the_tutorial_shows",
        ]),
        ("missing name or addresses, duplicates and overlaps are refused in MetalLB's words", [
            "unit Pool.NeedsNameAndAddresses",
            "unit Validate.Pools",
            "unit Validate.Overlaps",
            "unit Pool.RangesOfOneTextMustNotOverlap",
        ]),
        ("invalid selectors are refused in MetalLB's words", ["unit Pool.BadSelectorsAreRefused"]),
        ("an invalid configuration leaves the last good one in force, and the gauge says so", [
            "unit PoolsInForceTest.TheLastThatMadeSenseStay",
            "kube story_services.Services.test_all_pools_gone_at_once_change_nothing",
        ]),
        ("the definitions take and show the same as MetalLB's own", [
            "kube story_definitions.Applied.test_the_same_is_taken_and_shown",
            "kube story_definitions.Applied.test_metallb_itself_works_with_ours",
        ]),
    ],
    "Advertisements": [
        ("ipAddressPools and ipAddressPoolSelectors unite; both empty mean all pools", [
            "unit Decide.AdvertisementsNameAllPoolsOrSelectThem",
            "unit L2Advertisement.WithoutSpecMeansAllPools",
        ]),
        ("a pool without an advertisement gives addresses that nobody announces, and it is said", [
            "unit Decide.NoAdvertisement",
        ]),
        ("nodeSelectors: any of them; empty: every node", ["unit Decide.NodeSelectors"]),
        ("interfaces: exact names, several advertisements unite; a node without one is no candidate", [
            "unit Decide.Interfaces",
        ]),
        ("serviceSelectors; an address of several Services goes to a node that matches all of them", [
            "unit Decide.ServiceSelectorsMustCoverEveryServiceOfTheVip",
        ]),
        ("preferredNodeSelectors: weights add up", ["unit Decide.PreferenceIsTheSumOfTheWeightsThatMatchThisNode"]),
    ],
    "Reports": [
        ("ServiceL2Status: one for each announced Service, owned by the node's Pod", [
            "unit WritesTest.WhatANodeAnnouncesIsOwnedByItsPod",
            "kube story_pods.Pods.test_what_is_reported_belongs_to_the_pod_that_reports",
            "kube story_tutorial.Tutorial.test_the_reader_sees_what_the_tutorial_shows",
        ]),
        ("ConfigurationState: one for each node and one for the allocator", [
            "unit WritesTest.AStateOfTheConfigurationBelongsToWhoeverWritesIt",
            "kube story_services.Services.test_all_pools_gone_at_once_change_nothing",
        ]),
        ("events IPAllocated, nodeAssigned", [
            "kube story_tutorial.Tutorial.test_the_reader_sees_what_the_tutorial_shows",
        ]),
        ("event AllocationFailed, once, with the reason", [
            "unit ApiAllocatorTest.ARefusalIsSaidOnceInMetalLbsWords",
            "kube story_services.Services.test_what_cannot_be_is_said_in_metallbs_words",
        ]),
        ("event announceFailed", [
            "kube story_services.Services.test_an_address_that_somebody_else_has_is_not_announced",
        ]),
        ("event ClearAssignment", ["unit ApiAllocatorTest.ANoMoreLoadBalancerIsCleared"]),
        ("event deprecatedAnnotation", [
            "unit ApiAllocatorTest.OldSpellingsAreToldOnce",
            "kube story_services.Services.test_the_old_spelling_works_and_is_told",
        ]),
        ("event LoadBalancerFailed, when somebody else writes over the status", [
            "unit ApiAllocatorTest.WhoIsOverwrittenTwiceStopsAndSaysSo",
        ]),
        ("metrics metallb_*", ["unit MetricsTest.TheNamesOfMetalLBAndOurs", "lab story_daemon.Daemon.test_metrics"]),
    ],
    "Services": [
        ("metallb.io/loadBalancerIPs: at most two of different families, in the Service's own", [
            "unit Service.RequestedAddressesAreRefusedInMetallbsWords",
            "kube story_services.Services.test_an_address_by_name_and_another_one_later",
        ]),
        ("metallb.io/address-pool; a change allocates anew", [
            "unit Allocator.HeldAddressFollowsARequestAndAPool",
            "kube story_services.Services.test_a_pool_by_name",
        ]),
        ("metallb.io/allow-shared-ip", [
            "unit Allocator.Sharing",
            "unit Allocator.SharingUnderLocalNeedsTheSameSelector",
            "kube story_services.Services.test_two_share_an_address_under_one_key",
        ]),
        ("metallb.io/ip-allocated-from-pool is written back, with the address, in one patch", [
            "unit WritesTest.AStatusHasAddressesModeAndPoolTogether",
            "kube story_services.Services.test_a_pool_by_name",
        ]),
        ("metallb.universe.tf/ is still read, the new spelling wins", [
            "unit Service.OldSpellingsAreReadAndTheNewOneWins",
            "unit ApiService.ReadsTheOldSpellings",
        ]),
        ("spec.loadBalancerIP; together with the annotation a contradiction", [
            "unit ApiService.AContradictionIsSaidInMetallbsWordsAndAsksForNothing",
            "unit ApiAllocatorTest.AContradictionKeepsWhatIsShown",
        ]),
        ("spec.loadBalancerClass: only Services without one, or only those of ours", [
            "unit KeepClassTest.OnlyItsOwn",
            "unit Allocator.OnlyLoadBalancersWithoutAClass",
            "kube story_services.Services.test_another_class_is_left_alone",
        ]),
        ("ipFamilyPolicy: RequireDualStack needs both, PreferDualStack gains the second later", [
            "unit Allocator.Families",
            "unit Allocator.PreferDualStackTakesOneAndGainsTheOtherFromItsPool",
        ]),
        ("no LoadBalancer any more, or no cluster IP: cleared", [
            "unit ApiAllocatorTest.ANoMoreLoadBalancerIsCleared",
            "unit ApiAllocatorTest.WithoutAClusterIpOrWithAContradictionThereIsNoAddress",
            "kube story_services.Services.test_who_stops_to_be_a_load_balancer_gives_its_address_back",
        ]),
        ("all pools gone at once change nothing", [
            "kube story_services.Services.test_all_pools_gone_at_once_change_nothing",
        ]),
    ],
    "Allocation": [
        ("the lowest free address of the first range; .200 for the tutorial", [
            "unit Allocator.TutorialPoolGivesItsFirstAddress",
            "kube story_services.Services.test_addresses_are_given_in_order_and_come_back",
        ]),
        ("pinned pools by priority, then the others by name", ["unit Allocator.PinnedPoolsGoFirstByPriority"]),
        ("held addresses come first after a restart, and stay", [
            "unit Allocator.HeldAddressesStayAndComeFirst",
            "unit ApiAllocatorTest.WhatTheStatusShowsAtTheStartStays",
            "kube story_life.Life.test_without_the_api_server",
        ]),
        ("a pool that is edited or removed under an address allocates anew", [
            "unit Allocator.HeldAddressOutsideEveryPoolIsReplaced",
        ]),
        ("under a sharing key the first that fits may be one that the key holds", ["unit Allocator.Sharing"]),
        ("freed addresses come back", [
            "unit ApiAllocatorTest.ADeletedServiceGivesItsAddressBack",
            "kube story_services.Services.test_a_full_pool_is_said_and_the_next_free_address_is_taken",
        ]),
    ],
    "Refusals, in MetalLB's words": [
        ("of requests: not allowed in config, unknown pool, family, pool and address together, sharing, ports in use", [
            "unit Allocator.RefusalsOfRequests",
        ]),
        ("without a request: no available IPs, in which pool, for which family", [
            "unit Allocator.RefusalsWithoutRequest",
        ]),
        ("of annotations: more than two addresses, two of one family, invalid", [
            "unit Service.RequestedAddressesAreRefusedInMetallbsWords",
        ]),
    ],
    "Election": [
        ("candidates: without NetworkUnavailable, without the label that excludes, within the advertisement's nodes", [
            "unit Decide.NodeSelectors",
        ]),
        ("Local: nodes with an endpoint of their own; no endpoint anywhere: nobody", [
            "unit Endpoints.PolicyLocalAsksForOneOnThisNode",
            "unit Decide.NobodyAnnouncesWhatNothingServes",
        ]),
        ("NotReady nodes and cordons are no inputs", [
            "kube story_life.Life.test_a_cordoned_node_hands_over_until_it_is_uncordoned",
        ]),
        ("the highest preference, then the lowest SHA-256 of `node#address`", [
            "unit DigestTest.ARankIsOfTheTextThatMetalLbHashes",
            "unit Claims.TheBestCandidateClaimsWhatIsVacant",
        ]),
        ("dual stack: both families by the first address", ["unit Decide.BothFamiliesOfAServiceAreRankedByTheFirst"]),
    ],
    "On the wire": [
        ("ARP requests to all and to the node are answered by unicast, with the link's MAC; probes too", [
            "packet ArpTest",
            "lab story_first_serve.FirstServe.test_arp_probe_and_request_are_answered_once",
        ]),
        ("requests to somebody else's MAC are not", ["packet ArpTest"]),
        ("announcements: at once, often at first, then as a refresh", [
            "unit ScheduleTest.AnnouncesOftenAtFirstAndThenOnceAMinute",
            "lab story_neighbours.Announcements.test_taking_an_address_is_announced",
        ]),
        ("IPv6: the solicited-node group of each address is joined", ["unit Compile.GroupsOfOwnedIpv6Vips"]),
        ("solicitations are answered, with a source link address and without", [
            "lab story_first_serve.FirstServe.test_solicitation_with_and_without_option",
        ]),
    ],
}
