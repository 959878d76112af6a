package watch

import (
	"context"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// nftables listens to the packet filter's own group: each transaction that changes a table, chain, rule or set.
func nftables(ctx context.Context, ready, changed func()) error {
	return messages(ctx, unix.NETLINK_NETFILTER, []uint32{unix.NFNLGRP_NFTABLES}, ready, changed)
}

// routes listens to links, addresses and routes.
func routes(ctx context.Context, ready, changed func()) error {
	return messages(ctx, unix.NETLINK_ROUTE, []uint32{
		unix.RTNLGRP_LINK,
		unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV4_ROUTE,
		unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV6_ROUTE,
	}, ready, changed)
}

// messages listens to groups of a netlink family. What the messages say is not looked at.
func messages(ctx context.Context, family int, groups []uint32, ready, changed func()) error {
	conn, err := netlink.Dial(family, nil)
	if err != nil {
		return fmt.Errorf("cannot open netlink: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	defer conn.Close()
	for _, group := range groups {
		if err := conn.JoinGroup(group); err != nil {
			return fmt.Errorf("cannot join netlink's group %d: %w", group, err)
		}
	}
	ready()
	for {
		_, err := conn.Receive()
		// There were more messages than the socket holds: something has changed all the same.
		if err != nil && !errors.Is(err, unix.ENOBUFS) {
			return fmt.Errorf("cannot read from netlink: %w", err)
		}
		changed()
	}
}
