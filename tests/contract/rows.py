# SPDX-License-Identifier: Apache-2.0
"""What a user of MetalLB's layer-2 mode finds again here, and what kube-proxy did for such addresses, row by row, and the tests that
hold it.

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
    "Taken over from kube-proxy, of each mode, at tc and at native XDP": [
        ("externalTrafficPolicy Cluster: pods of every node, the client's address kept", [
            "kube story_takeover.Takeover.test_external_traffic_policy_cluster",
        ]),
        ("externalTrafficPolicy Local: pods of the node that answers; without one it does not", [
            "kube story_takeover.Takeover.test_external_traffic_policy_local",
            "kube story_takeover.Takeover.test_external_traffic_policy_local_without_a_pod_on_the_node",
        ]),
        ("sessionAffinity ClientIP, until its timeout", [
            "kube story_takeover.Takeover.test_session_affinity_client_ip_until_its_timeout",
            "lab story_policies.Affinity.test_one_client_one_backend",
        ]),
        ("loadBalancerSourceRanges; a family without ranges is denied, and an event says so", [
            "kube story_takeover.Takeover.test_load_balancer_source_ranges",
            "unit ApiAllocatorTest.AFamilyThatNobodyComesInByIsToldOnceAndAgainWhenItIsNews",
        ]),
        ("healthCheckNodePort: kube-proxy's while it is there, ours where it is not", [
            "kube story_takeover.Takeover.test_health_check_node_port_is_served_by_kube_proxy",
            "kube story_takeover.Takeover.test_health_check_node_port_is_served_where_kube_proxy_is_not",
            "unit ServiceHealthResponse.IsKubeProxys",
            "lab story_health_check_port.HealthCheckPort.test_clients_that_keep_still_stop_neither_it_nor_the_loop",
        ]),
        ("named targetPorts that differ between pods", [
            "kube story_takeover.Takeover.test_target_port_named_differently_by_pods",
        ]),
        ("terminating endpoints serve while nothing better is left; with Local: on the node", [
            "kube story_takeover.Takeover.test_terminating_endpoints_serve_while_nothing_better_is_left",
            "kube story_takeover.Takeover.test_terminating_endpoints_serve_while_nothing_better_is_left_on_the_node_with_policy_local",
            "unit Endpoints.WithPolicyLocalSomethingBetterOnAnotherNodeDoesNotCount",
        ]),
        ("dual stack", [
            "kube story_takeover.Takeover.test_dual_stack",
        ]),
        ("UDP beside TCP on one port", [
            "kube story_takeover.Takeover.test_udp_and_tcp_on_one_port",
        ]),
        ("publishNotReadyAddresses", [
            "kube story_takeover.Takeover.test_publish_not_ready_addresses",
        ]),
        ("NetworkPolicies: pods that one selects take the kernel path, unless the annotation says fast", [
            "kube story_takeover.Takeover.test_pods_of_a_network_policy_take_the_kernel_path",
        ]),
        ("allocateLoadBalancerNodePorts: false", [
            "kube story_takeover.Takeover.test_allocate_load_balancer_node_ports_false",
        ]),
        ("headless and ExternalName Services are left alone quietly", [
            "kube story_takeover.Takeover.test_headless_and_external_name_are_left_alone_quietly",
        ]),
        ("EndpointSlices written by hand", [
            "kube story_takeover.Takeover.test_endpoint_slices_written_by_hand",
        ]),
    ],
    "Left to kube-proxy": [
        ("pods and nodes reach cluster IPs", [
            "kube story_takeover.Takeover.test_beside_it_pods_and_nodes_reach_cluster_ips",
        ]),
        ("node ports", [
            "kube story_takeover.Takeover.test_beside_it_node_ports_are_served",
        ]),
        ("pods reach load balancer addresses, with the socket programs and without", [
            "kube story_takeover.Takeover.test_beside_it_pods_reach_load_balancer_addresses",
        ]),
        ("Services of another class", [
            "kube story_takeover.Takeover.test_beside_it_services_of_another_class_are_served",
        ]),
    ],
}
