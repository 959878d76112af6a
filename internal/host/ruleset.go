package host

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// readRuleset dumps nftables of the network namespace of the calling thread.
func readRuleset(ctx context.Context) (Ruleset, error) {
	r, err := dumpRuleset(ctx)
	if errors.Is(err, unix.EPERM) {
		err = fmt.Errorf("%w (needs CAP_NET_ADMIN)", err)
	}
	if err != nil {
		return Ruleset{}, fmt.Errorf("cannot read nftables: %w", err)
	}
	return r, nil
}

func dumpRuleset(ctx context.Context) (Ruleset, error) {
	raw, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return Ruleset{}, err
	}
	defer raw.Close()
	withDeadline := func(c *netlink.Conn) error {
		if deadline, ok := ctx.Deadline(); ok {
			return c.SetDeadline(deadline)
		}
		return nil
	}
	if err := withDeadline(raw); err != nil {
		return Ruleset{}, err
	}
	conn, err := nftables.New(nftables.AsLasting(), nftables.WithSockOptions(withDeadline))
	if err != nil {
		return Ruleset{}, err
	}
	defer func() { _ = conn.CloseLasting() }()
	// Tables, chains, sets and rules come in dumps of their own. The generation number says
	// whether somebody changed the ruleset in between.
	for range 8 {
		if err := ctx.Err(); err != nil {
			return Ruleset{}, err
		}
		d := dump{raw: raw, conn: conn}
		before, err := d.generation()
		if err != nil {
			return Ruleset{}, err
		}
		ruleset, err := d.ruleset()
		after, genErr := d.generation()
		if genErr != nil {
			return Ruleset{}, genErr
		}
		if before == after {
			return ruleset, err
		}
	}
	return Ruleset{}, errors.New("the ruleset keeps changing while it is read")
}

// dump reads one generation of the ruleset.
type dump struct {
	raw  *netlink.Conn
	conn *nftables.Conn
}

func (d dump) ruleset() (Ruleset, error) {
	tables, err := d.tables()
	if err != nil {
		return Ruleset{}, fmt.Errorf("tables: %w", err)
	}
	chains, err := d.conn.ListChains()
	if err != nil {
		return Ruleset{}, fmt.Errorf("chains: %w", err)
	}
	rules, err := d.rules()
	if err != nil {
		return Ruleset{}, fmt.Errorf("rules: %w", err)
	}
	out := Ruleset{Tables: []Table{}}
	for _, t := range tables {
		table := Table{Family: familyName(t.Family), Name: t.Name, Dormant: t.Flags&tableDormant != 0, Chains: []Chain{}}
		var sets map[string]nftSet
		if table.Sets, sets, err = d.sets(t); err != nil {
			return Ruleset{}, fmt.Errorf("sets of table %s %s: %w", table.Family, table.Name, err)
		}
		for _, c := range chains {
			if c.Table.Name != t.Name || c.Table.Family != t.Family {
				continue
			}
			chain := describeChain(t.Family, c)
			if table.Dormant {
				chain.Hook = ""
			}
			for _, r := range rules[chainKey{t.Family, t.Name, c.Name}] {
				chain.Rules = append(chain.Rules, ruleText(t.Family, sets, r))
			}
			table.Chains = append(table.Chains, chain)
		}
		slices.SortFunc(table.Chains, func(a, b Chain) int { return cmp.Compare(a.Name, b.Name) })
		out.Tables = append(out.Tables, table)
	}
	slices.SortFunc(out.Tables, func(a, b Table) int {
		return cmp.Or(cmp.Compare(a.Family, b.Family), cmp.Compare(a.Name, b.Name))
	})
	return out, nil
}

func (d dump) sets(t *nftables.Table) ([]Set, map[string]nftSet, error) {
	list, err := d.conn.GetSets(t)
	if err != nil {
		return nil, nil, err
	}
	named, all := []Set{}, map[string]nftSet{}
	for _, s := range list {
		elements, err := d.conn.GetSetElements(s)
		if err != nil {
			return nil, nil, fmt.Errorf("elements of %s: %w", s.Name, err)
		}
		set := decodeSet(s, elements)
		all[s.Name] = set
		if !s.Anonymous {
			named = append(named, Set{Name: s.Name, Elements: set.elements()})
		}
	}
	slices.SortFunc(named, func(a, b Set) int { return cmp.Compare(a.Name, b.Name) })
	return named, all, nil
}

func describeChain(family nftables.TableFamily, c *nftables.Chain) Chain {
	out := Chain{Name: c.Name, Type: string(c.Type), Rules: []string{}}
	if c.Hooknum != nil {
		out.Hook = hookName(family, uint32(*c.Hooknum))
	}
	if c.Priority != nil {
		out.Priority = int32(*c.Priority)
	}
	if c.Policy != nil {
		switch *c.Policy {
		case nftables.ChainPolicyAccept:
			out.Policy = "accept"
		case nftables.ChainPolicyDrop:
			out.Policy = "drop"
		}
	}
	return out
}

func familyName(f nftables.TableFamily) string {
	names := map[nftables.TableFamily]string{
		nftables.TableFamilyINet: "inet", nftables.TableFamilyIPv4: "ip", nftables.TableFamilyIPv6: "ip6",
		nftables.TableFamilyARP: "arp", nftables.TableFamilyNetdev: "netdev", nftables.TableFamilyBridge: "bridge",
	}
	if name, ok := names[f]; ok {
		return name
	}
	return fmt.Sprintf("unknown(family %d)", f)
}

func hookName(f nftables.TableFamily, hook uint32) string {
	names := []string{"prerouting", "input", "forward", "output", "postrouting", "ingress"}
	switch f {
	case nftables.TableFamilyARP:
		names = []string{"input", "output", "forward"}
	case nftables.TableFamilyNetdev:
		names = []string{"ingress", "egress"}
	}
	if int(hook) < len(names) {
		return names[hook]
	}
	return fmt.Sprintf("unknown(hook %d)", hook)
}

// tableDormant is NFT_TABLE_F_DORMANT: the chains of the table are unhooked.
const tableDormant = 1

type chainKey struct {
	family nftables.TableFamily
	table  string
	chain  string
}

// tables dumps the tables. The library's own reader takes their flags in the wrong byte order,
// and a dormant table, which filters nothing, must not look like one that does.
func (d dump) tables() ([]*nftables.Table, error) {
	var out []*nftables.Table
	err := d.dump(unix.NFT_MSG_GETTABLE, func(family nftables.TableFamily, ad *netlink.AttributeDecoder) error {
		t := &nftables.Table{Family: family}
		for ad.Next() {
			switch ad.Type() {
			case unix.NFTA_TABLE_NAME:
				t.Name = ad.String()
			case unix.NFTA_TABLE_FLAGS:
				t.Flags = ad.Uint32()
			}
		}
		out = append(out, t)
		return nil
	})
	return out, err
}

// rules dumps the rules of all chains, in order. See parseExpressions for why not by the library.
func (d dump) rules() (map[chainKey][][]expression, error) {
	out := map[chainKey][][]expression{}
	err := d.dump(unix.NFT_MSG_GETRULE, func(family nftables.TableFamily, ad *netlink.AttributeDecoder) error {
		key := chainKey{family: family}
		var list []expression
		for ad.Next() {
			switch ad.Type() {
			case unix.NFTA_RULE_TABLE:
				key.table = ad.String()
			case unix.NFTA_RULE_CHAIN:
				key.chain = ad.String()
			case unix.NFTA_RULE_EXPRESSIONS:
				var err error
				if list, err = parseExpressions(byte(family), ad.Bytes()); err != nil {
					return err
				}
			}
		}
		out[key] = append(out[key], list)
		return nil
	})
	return out, err
}

// generation is the number that the kernel raises with every change of the ruleset.
func (d dump) generation() (id uint32, err error) {
	err = d.ask(unix.NFT_MSG_GETGEN, 0, func(_ nftables.TableFamily, ad *netlink.AttributeDecoder) error {
		for ad.Next() {
			if ad.Type() == unix.NFTA_GEN_ID {
				id = ad.Uint32()
			}
		}
		return nil
	})
	return id, err
}

// dump asks for all objects of one type in all families.
func (d dump) dump(message int, each func(nftables.TableFamily, *netlink.AttributeDecoder) error) error {
	return d.ask(message, netlink.Dump, each)
}

func (d dump) ask(message int, flags netlink.HeaderFlags, each func(nftables.TableFamily, *netlink.AttributeDecoder) error) error {
	replies, err := d.raw.Execute(netlink.Message{
		Header: netlink.Header{
			Type:  netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | message),
			Flags: netlink.Request | flags,
		},
		Data: []byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, 0}, // struct nfgenmsg
	})
	if err != nil {
		return err
	}
	for _, m := range replies {
		if len(m.Data) < 4 {
			return errors.New("netlink message without a header")
		}
		ad, err := netlink.NewAttributeDecoder(m.Data[4:])
		if err != nil {
			return err
		}
		ad.ByteOrder = binary.BigEndian
		if err := each(nftables.TableFamily(m.Data[0]), ad); err != nil {
			return err
		}
		if err := ad.Err(); err != nil {
			return err
		}
	}
	return nil
}
