package host

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// ruleText writes a rule's expressions in the normal form; see NormalRule. Whatever it does not
// know becomes "unknown(…)", which no expected rule contains: a rule with one part that nobody
// understood is never taken for the rule that it resembles.
func ruleText(family nftables.TableFamily, sets map[string]nftSet, list []expression) string {
	d := ruleDecoder{sets: sets, registers: map[uint32]*load{}}
	switch family {
	case nftables.TableFamilyIPv4:
		d.network.protocol = "ip"
	case nftables.TableFamilyIPv6:
		d.network.protocol = "ip6"
	}
	d.family = family
	for i := 0; i < len(list); i++ {
		if i+1 < len(list) && d.pair(list[i], list[i+1]) {
			i++
			continue
		}
		d.expression(list[i])
	}
	for _, register := range slices.Sorted(maps.Keys(d.registers)) {
		d.drop(d.registers[register])
	}
	var out []string
	for _, p := range d.parts {
		if !p.implied {
			out = append(out, p.text)
		}
	}
	return strings.Join(out, " ")
}

type ruleDecoder struct {
	family    nftables.TableFamily
	sets      map[string]nftSet
	registers map[uint32]*load
	parts     []*part

	network   layer // "ip", "ip6"
	transport layer // "tcp", "udp", "th" for one of several, …
}

// part is one word group of the rule. It is implied when a later one cannot be read without it:
// "meta l4proto tcp" before "tcp dport 8200" goes without saying, in nft's output and in ours.
type part struct {
	text    string
	implied bool
}

// layer is a protocol that the rule has tested, and the part that did.
type layer struct {
	protocol string
	test     *part
}

func (l *layer) imply() {
	if l.test != nil {
		l.test.implied = true
	}
}

// load is a register that holds something of the packet.
type load struct {
	fields []field // what lies in it, in order; none when we do not know it
	name   string  // for unknown(…)
	size   int     // bytes loaded
	mask   []byte  // of a bitwise AND on the way
	used   bool
}

// field is a piece of the packet that can be matched.
type field struct {
	name string // "tcp dport"
	typ  nftType
	uses []*layer // what must have been tested before, and is implied
}

func (d *ruleDecoder) add(text string) *part {
	p := &part{text: text}
	d.parts = append(d.parts, p)
	return p
}

func (d *ruleDecoder) unknown(what string) { d.add("unknown(" + what + ")") }

// put fills a register. What was in it and never tested has no text, but it was in the rule.
func (d *ruleDecoder) put(register uint32, l *load) {
	if old, ok := d.registers[register]; ok {
		d.drop(old)
	}
	d.registers[register] = l
}

func (d *ruleDecoder) drop(l *load) {
	if !l.used {
		d.unknown(l.name)
	}
}

func (d *ruleDecoder) expression(e expression) {
	switch x := e.value.(type) {
	case *expr.Meta:
		d.meta(x)
	case *expr.Ct:
		d.ct(x)
	case *expr.Payload:
		d.payload(x)
	case *expr.Bitwise:
		d.bitwise(x)
	case *expr.Cmp:
		d.compare(x)
	case *expr.Range:
		d.inRange(x.Register, x.Op, interval{x.FromData, x.ToData})
	case *expr.Lookup:
		d.lookup(x)
	case *expr.Limit:
		d.add(limitText(x))
	case *expr.Log:
		d.add(logText(x))
	case *expr.Counter:
		d.add("counter")
	case *expr.Reject:
		d.reject(x)
	case *expr.Verdict:
		d.verdict(x)
	default:
		d.unknown(e.name)
	}
}

// pair takes the two comparisons that nft makes of a range.
func (d *ruleDecoder) pair(a, b expression) bool {
	from, ok := a.value.(*expr.Cmp)
	if !ok || from.Op != expr.CmpOpGte {
		return false
	}
	to, ok := b.value.(*expr.Cmp)
	if !ok || to.Op != expr.CmpOpLte || to.Register != from.Register {
		return false
	}
	d.inRange(from.Register, expr.CmpOpEq, interval{from.Data, to.Data})
	return true
}

func (d *ruleDecoder) meta(x *expr.Meta) {
	if x.SourceRegister {
		d.unknown(fmt.Sprintf("meta set %d", x.Key))
		return
	}
	l := &load{name: fmt.Sprintf("meta %d", x.Key)}
	switch x.Key {
	case expr.MetaKeyIIFNAME:
		l.fields, l.size = []field{{name: "iifname", typ: nftIfname}}, unix.IFNAMSIZ
	case expr.MetaKeyOIFNAME:
		l.fields, l.size = []field{{name: "oifname", typ: nftIfname}}, unix.IFNAMSIZ
	case expr.MetaKeyNFPROTO:
		l.fields, l.size = []field{{name: "meta nfproto", typ: nftNFProto}}, 1
	case expr.MetaKeyL4PROTO:
		l.fields, l.size = []field{{name: "meta l4proto", typ: nftProto}}, 1
	}
	d.put(x.Register, l)
}

func (d *ruleDecoder) ct(x *expr.Ct) {
	l := &load{name: fmt.Sprintf("ct %d", x.Key)}
	if x.Key == expr.CtKeySTATE {
		l.fields, l.size = []field{{name: "ct state", typ: nftCtState}}, 4
	}
	d.put(x.Register, l)
}

func (d *ruleDecoder) payload(x *expr.Payload) {
	if x.OperationType != expr.PayloadLoad {
		d.unknown("payload set")
		return
	}
	l := &load{size: int(x.Len), name: fmt.Sprintf("payload %d,%d,%d", x.Base, x.Offset, x.Len)}
	switch x.Base {
	case expr.PayloadBaseNetworkHeader:
		l.fields = d.fieldsAt(d.networkHeader(), x.Offset, x.Len)
	case expr.PayloadBaseTransportHeader:
		l.fields = d.fieldsAt(d.transportHeader(), x.Offset, x.Len)
	}
	d.put(x.DestRegister, l)
}

// header lists fields by their offset.
type header map[uint32]field

func (d *ruleDecoder) networkHeader() header {
	uses := []*layer{&d.network}
	switch d.network.protocol {
	case "ip":
		return header{9: {"ip protocol", nftProto, uses}, 12: {"ip saddr", nftIPv4, uses}, 16: {"ip daddr", nftIPv4, uses}}
	case "ip6":
		return header{6: {"ip6 nexthdr", nftProto, uses}, 8: {"ip6 saddr", nftIPv6, uses}, 24: {"ip6 daddr", nftIPv6, uses}}
	}
	return nil
}

func (d *ruleDecoder) transportHeader() header {
	uses := []*layer{&d.transport}
	switch p := d.transport.protocol; p {
	case "tcp", "udp", "udplite", "dccp", "sctp", "th":
		if p == "th" {
			uses = nil // the protocols that it may be are told by their own part
		}
		return header{0: {p + " sport", nftPort, uses}, 2: {p + " dport", nftPort, uses}}
	case "icmp":
		if d.network.protocol != "ip6" {
			uses = append(uses, &d.network)
		}
		return header{0: {"icmp type", nftICMP, uses}, 1: {"icmp code", nftByte, uses}}
	case "ipv6-icmp":
		if d.network.protocol != "ip" {
			uses = append(uses, &d.network)
		}
		return header{0: {"icmpv6 type", nftICMPv6, uses}, 1: {"icmpv6 code", nftByte, uses}}
	}
	return nil
}

// fieldsAt names what a load covers: one field, several neighbours (nft joins their loads), or
// the leading bytes of an address.
func (*ruleDecoder) fieldsAt(h header, offset, length uint32) []field {
	var out []field
	for length > 0 {
		f, ok := h[offset]
		if !ok {
			return nil
		}
		out = append(out, f)
		size := uint32(f.typ.size)
		if length < size {
			if !f.typ.prefix {
				return nil
			}
			break
		}
		offset, length = offset+size, length-size
	}
	return out
}

func (d *ruleDecoder) bitwise(x *expr.Bitwise) {
	l, ok := d.registers[x.SourceRegister]
	if !ok || x.DestRegister != x.SourceRegister || l.mask != nil || l.used || len(l.fields) != 1 ||
		len(x.Mask) != l.size || len(x.Xor) != l.size || len(bytes.Trim(x.Xor, "\x00")) != 0 {
		if ok {
			l.fields = nil
		}
		d.unknown("bitwise")
		return
	}
	l.mask = x.Mask
}

var comparisons = map[expr.CmpOp]string{
	expr.CmpOpEq: "", expr.CmpOpNeq: "!= ", expr.CmpOpLt: "< ", expr.CmpOpLte: "<= ", expr.CmpOpGt: "> ", expr.CmpOpGte: ">= ",
}

// use takes what a register holds for a match.
func (d *ruleDecoder) use(register uint32) (*load, bool) {
	l, ok := d.registers[register]
	if !ok {
		d.unknown(fmt.Sprintf("register %d", register))
		return nil, false
	}
	l.used = true
	if len(l.fields) == 0 {
		d.unknown(l.name)
		return nil, false
	}
	return l, true
}

// match writes a field with its value, and marks the tests that the field implies.
func (d *ruleDecoder) match(f field, op, value string) *part {
	for _, l := range f.uses {
		l.imply()
	}
	return d.add(f.name + " " + op + value)
}

func (d *ruleDecoder) compare(x *expr.Cmp) {
	l, ok := d.use(x.Register)
	if !ok {
		return
	}
	op, ok := comparisons[x.Op]
	if !ok {
		d.unknown("cmp")
		return
	}
	f := l.fields[0]
	switch {
	case f.name == "ct state":
		d.compareState(f, l, x)
	case l.mask != nil:
		d.comparePrefix(f, l, x, op)
	case f.name == "iifname" || f.name == "oifname": // shorter than the register with a final *
		d.match(f, op, f.typ.format(x.Data))
	case len(x.Data) != l.size:
		d.unknown("cmp of another length")
	case len(l.fields) > 1 || l.size < f.typ.size:
		d.compareSeveral(l, x, op)
	default:
		d.compareField(f, x, op)
	}
}

func (d *ruleDecoder) compareField(f field, x *expr.Cmp, op string) {
	p := d.match(f, op, f.typ.format(x.Data))
	if x.Op != expr.CmpOpEq {
		return
	}
	switch f.name {
	case "meta nfproto":
		d.network = layer{map[byte]string{unix.NFPROTO_IPV4: "ip", unix.NFPROTO_IPV6: "ip6"}[x.Data[0]], p}
	case "meta l4proto", "ip protocol":
		d.transport = layer{protocolNames[uint64(x.Data[0])], p}
	}
}

// compareState reads the two ways in which nft tests ct state: as bits of which one is set, and
// as a whole. "ct state established" is the first, "ct state != invalid" the second.
func (d *ruleDecoder) compareState(f field, l *load, x *expr.Cmp) {
	zero := len(bytes.Trim(x.Data, "\x00")) == 0
	switch {
	case len(x.Data) != 4:
		d.unknown("ct state")
	case l.mask != nil && zero && x.Op == expr.CmpOpNeq:
		d.match(f, "", f.typ.format(l.mask))
	case l.mask != nil && zero && x.Op == expr.CmpOpEq:
		d.match(f, "! ", f.typ.format(l.mask))
	case l.mask == nil && x.Op == expr.CmpOpNeq:
		d.match(f, "!= ", f.typ.format(x.Data))
	case l.mask == nil && x.Op == expr.CmpOpEq:
		d.match(f, "== ", f.typ.format(x.Data))
	default:
		d.unknown("ct state")
	}
}

// comparePrefix reads a CIDR of which the length is not a multiple of eight.
func (d *ruleDecoder) comparePrefix(f field, l *load, x *expr.Cmp, op string) {
	length, ok := maskLength(l.mask)
	if !f.typ.prefix || !ok || len(x.Data) != l.size || l.size > f.typ.size || x.Op != expr.CmpOpEq && x.Op != expr.CmpOpNeq {
		d.unknown("bitwise")
		return
	}
	d.match(f, op, f.typ.text(prefixInterval(padded(x.Data, f.typ.size), length)))
}

// compareSeveral reads one comparison over neighbouring fields, of which the last may be the
// leading bytes of an address: a CIDR whose length is a multiple of eight.
func (d *ruleDecoder) compareSeveral(l *load, x *expr.Cmp, op string) {
	if x.Op != expr.CmpOpEq && (x.Op != expr.CmpOpNeq || len(l.fields) > 1) {
		d.unknown("cmp of several fields")
		return
	}
	data := x.Data
	for _, f := range l.fields {
		if n := f.typ.size; len(data) >= n {
			d.compareField(f, &expr.Cmp{Op: x.Op, Data: data[:n]}, op)
			data = data[n:]
			continue
		}
		d.match(f, op, f.typ.text(prefixInterval(padded(data, f.typ.size), 8*len(data))))
	}
}

func padded(b []byte, size int) []byte { return append(slices.Clone(b), make([]byte, size-len(b))...) }

func maskLength(mask []byte) (int, bool) {
	length := 0
	for length < 8*len(mask) && mask[length/8]&(0x80>>(length%8)) != 0 {
		length++
	}
	return length, bytes.Equal(mask, prefixMask(length, len(mask)))
}

func prefixMask(length, size int) []byte {
	return prefixInterval(bytes.Repeat([]byte{0xff}, size), length).lo
}

func (d *ruleDecoder) inRange(register uint32, op expr.CmpOp, i interval) {
	l, ok := d.use(register)
	if !ok {
		return
	}
	f, text := l.fields[0], comparisons[op]
	if len(l.fields) != 1 || l.mask != nil || l.size != f.typ.size || len(i.lo) != l.size || len(i.hi) != l.size ||
		f.name == "ct state" || op != expr.CmpOpEq && op != expr.CmpOpNeq {
		d.unknown("range")
		return
	}
	d.match(f, text, f.typ.text(i))
}

func (d *ruleDecoder) lookup(x *expr.Lookup) {
	l, ok := d.use(x.SourceRegister)
	if !ok {
		return
	}
	set, ok := d.sets[x.SetName]
	f := l.fields[0]
	if !ok || x.IsDestRegSet || !set.plain || len(l.fields) != 1 || l.mask != nil || l.size != f.typ.size || set.size != l.size {
		d.unknown("lookup " + x.SetName)
		return
	}
	op := ""
	if x.Invert {
		op = "!= "
	}
	if !set.anonymous {
		d.match(f, op, "@"+x.SetName)
		return
	}
	d.match(f, op, braces(f.typ.list(set.intervals, set.merged)))
	if len(set.foreign) != 0 {
		d.unknown("set elements")
	}
	if f.name == "meta l4proto" && !x.Invert {
		d.transport = layer{protocol: "th"}
	}
}

// verdicts that a packet can get in our rules. Others (queue, stolen) are unknown.
var verdicts = map[expr.VerdictKind]string{
	expr.VerdictAccept: "accept", expr.VerdictDrop: "drop", expr.VerdictReturn: "return",
	expr.VerdictContinue: "continue", expr.VerdictJump: "jump", expr.VerdictGoto: "goto",
}

func (d *ruleDecoder) verdict(x *expr.Verdict) {
	name, ok := verdicts[x.Kind]
	if !ok {
		d.unknown(fmt.Sprintf("verdict %d", x.Kind))
		return
	}
	if x.Chain != "" {
		name += " " + x.Chain
	}
	d.add(name)
}

func (d *ruleDecoder) reject(x *expr.Reject) {
	byDefault := map[nftables.TableFamily]expr.Reject{
		nftables.TableFamilyIPv4:   {Type: unix.NFT_REJECT_ICMP_UNREACH, Code: 3},
		nftables.TableFamilyIPv6:   {Type: unix.NFT_REJECT_ICMP_UNREACH, Code: 4},
		nftables.TableFamilyINet:   {Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_PORT_UNREACH},
		nftables.TableFamilyBridge: {Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_PORT_UNREACH},
	}
	icmpx := []string{"no-route", "port-unreachable", "host-unreachable", "admin-prohibited"}
	switch {
	case *x == byDefault[d.family]:
		d.add("reject")
	case x.Type == unix.NFT_REJECT_TCP_RST:
		d.transport.imply()
		d.add("reject with tcp reset")
	case x.Type == unix.NFT_REJECT_ICMPX_UNREACH && int(x.Code) < len(icmpx):
		d.add("reject with icmpx " + icmpx[x.Code])
	default:
		d.unknown(fmt.Sprintf("reject %d,%d", x.Type, x.Code))
	}
}

var limitUnits = map[expr.LimitTime]string{
	expr.LimitTimeSecond: "second", expr.LimitTimeMinute: "minute", expr.LimitTimeHour: "hour",
	expr.LimitTimeDay: "day", expr.LimitTimeWeek: "week",
}

// quoted writes a string as nft does, which has no escapes. A string that nft could not have
// written (another tool did) is escaped, so that it cannot pass for more than a string.
func quoted(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return r == '"' || !strconv.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return `"` + s + `"`
}

// limitText always states the burst: nft leaves out its default in some versions.
func limitText(x *expr.Limit) string {
	over, unit := "", "packets"
	if x.Over {
		over = "over "
	}
	rate := strconv.FormatUint(x.Rate, 10)
	if x.Type == expr.LimitTypePktBytes {
		unit = "bytes"
		rate += " bytes"
	}
	return fmt.Sprintf("limit rate %s%s/%s burst %d %s", over, rate, limitUnits[x.Unit], x.Burst, unit)
}

// logText leaves out the level that nft takes when none is given.
func logText(x *expr.Log) string {
	levels := []string{"emerg", "alert", "crit", "err", "warn", "notice", "info", "debug", "audit"}
	out := "log"
	if len(x.Data) != 0 {
		out += " prefix " + quoted(string(x.Data))
	}
	has := func(attribute int) bool { return x.Key&(1<<attribute) != 0 }
	if has(unix.NFTA_LOG_GROUP) {
		out += fmt.Sprintf(" group %d", x.Group)
	}
	if has(unix.NFTA_LOG_SNAPLEN) && x.Snaplen != 0 {
		out += fmt.Sprintf(" snaplen %d", x.Snaplen)
	}
	if has(unix.NFTA_LOG_QTHRESHOLD) && x.QThreshold != 0 {
		out += fmt.Sprintf(" queue-threshold %d", x.QThreshold)
	}
	if has(unix.NFTA_LOG_LEVEL) && x.Level != expr.LogLevelWarning {
		if int(x.Level) < len(levels) {
			out += " level " + levels[x.Level]
		} else {
			out += fmt.Sprintf(" level %d", x.Level)
		}
	}
	if has(unix.NFTA_LOG_FLAGS) && x.Flags != 0 {
		out += fmt.Sprintf(" flags 0x%x", uint32(x.Flags))
	}
	return out
}
