package host

import (
	"encoding/binary"
	"fmt"

	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// expression is one expression of a rule; value is nil when we have no reader for it.
type expression struct {
	name  string
	value expr.Any
}

// newExpression lists the expressions that the normal form knows.
var newExpression = map[string]func() expr.Any{
	"meta":      func() expr.Any { return &expr.Meta{} },
	"ct":        func() expr.Any { return &expr.Ct{} },
	"payload":   func() expr.Any { return &expr.Payload{} },
	"bitwise":   func() expr.Any { return &expr.Bitwise{} },
	"cmp":       func() expr.Any { return &expr.Cmp{} },
	"range":     func() expr.Any { return &expr.Range{} },
	"lookup":    func() expr.Any { return &expr.Lookup{} },
	"limit":     func() expr.Any { return &expr.Limit{} },
	"log":       func() expr.Any { return &expr.Log{} },
	"counter":   func() expr.Any { return &expr.Counter{} },
	"reject":    func() expr.Any { return &expr.Reject{} },
	"immediate": func() expr.Any { return &expr.Verdict{} },
}

// parseExpressions reads the attribute NFTA_RULE_EXPRESSIONS.
//
// google/nftables reads single expressions here, but not the list: its own loop leaves out every
// expression that it has no type for ("socket", "rt", "xfrm", …), so that a rule which never
// matches would read like the one that always does.
func parseExpressions(family byte, b []byte) ([]expression, error) {
	list, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		return nil, err
	}
	var out []expression
	for list.Next() {
		if list.Type() != unix.NFTA_LIST_ELEM {
			return nil, fmt.Errorf("attribute %d in a list of expressions", list.Type())
		}
		e, err := parseExpression(family, list.Bytes())
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, list.Err()
}

func parseExpression(family byte, b []byte) (expression, error) {
	attributes, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		return expression{}, err
	}
	attributes.ByteOrder = binary.BigEndian
	var e expression
	var data []byte
	for attributes.Next() {
		switch attributes.Type() {
		case unix.NFTA_EXPR_NAME:
			e.name = attributes.String()
		case unix.NFTA_EXPR_DATA:
			data = attributes.Bytes()
		}
	}
	if err := attributes.Err(); err != nil {
		return expression{}, err
	}
	if e.name == "immediate" && !isVerdict(data) { // a value for a register, as NAT has it
		return e, nil
	}
	if make, ok := newExpression[e.name]; ok {
		if value := make(); unmarshal(family, data, value) == nil {
			e.value = value
		}
	}
	return e, nil
}

// unmarshal reads one expression. The library indexes without looking; what comes from a newer
// kernel than it knows must not take the process down.
func unmarshal(family byte, data []byte, value expr.Any) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("cannot decode %T: %v", value, r)
		}
	}()
	return expr.Unmarshal(family, data, value)
}

func isVerdict(data []byte) bool {
	var x expr.Immediate
	return unmarshal(0, data, &x) == nil && x.Register == unix.NFT_REG_VERDICT && len(x.Data) == 0
}
