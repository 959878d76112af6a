package configure

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"

	"github.com/strongroom/strongroom/internal/node"
)

// RecoveryKeyPath is where the recovery key lies in the clear for the seconds in which systemd-repart makes the partitions
// with it: in memory, in a directory that systemd removes with the unit.
const RecoveryKeyPath = "/run/strongroom-recovery/key"

// RecoveryDirectory is where the recovery key lies, encrypted, on the node itself. It is on the partition of other state,
// which is not encrypted.
const RecoveryDirectory = "/var/lib/hostcheck/recovery"

// recoveryTimeout is for each place that the key is delivered to.
const recoveryTimeout = 30 * time.Second

// Recovery is what a run of Recover came to.
type Recovery struct {
	KeyID       string   // of the recovery key, which tells keys apart and nothing about them
	DeliveredTo []string // URLs and paths of the encrypted key
}

// Recover makes a recovery key for data partitions that are still to be made, encrypts it to those whom node.hcl names,
// delivers it to where node.hcl says, and reads it back from there. Only then is the key left for systemd-repart. So a
// partition that exists has a recovery key that somebody holds; a run that was cut short leaves a key that opens nothing.
//
// The machine is asked first whether it can guard a key at all: with Secure Boot off, or an image without a signed policy,
// whatever starts on it could open the partitions as well. And whether it has started the signed image and nothing beside it.
func Recover(ctx context.Context, o Options) (Recovery, error) {
	var none Recovery
	id, err := o.leftIdentity()
	if err != nil {
		return none, err
	}
	document, err := o.leftDocument()
	if err != nil {
		return none, err
	}
	config, err := o.parse(document)
	if err != nil {
		return none, err
	}
	refused := o.guardless()
	if !config.Recovery.Some() {
		refused = append(refused, node.Hinted(errors.New("node.hcl names nobody who could recover the data (recovery)"),
			"add recovery { recipients = [\"age1…\"], deliver_to = [\"node\"] }: docs/encryption.md"))
	}
	if err := errors.Join(refused...); err != nil {
		return none, fmt.Errorf("the data partitions are not made: %w", err)
	}
	key, err := newRecoveryKey(o.Random)
	if err != nil {
		return none, err
	}
	sealed, err := key.encrypt(config.Recovery.Recipients, id.NodeID, o.Now())
	if err != nil {
		return none, fmt.Errorf("cannot encrypt the recovery key: %w", err)
	}
	made := Recovery{KeyID: key.id}
	name := id.NodeID + "." + key.id + ".age"
	for _, place := range config.Recovery.DeliverTo {
		where, err := o.deliver(ctx, place, name, sealed)
		if err != nil {
			return made, fmt.Errorf("the data partitions are not made, because their recovery key cannot be delivered: %w", err)
		}
		made.DeliveredTo = append(made.DeliveredTo, where)
	}
	if err := replaceFile(o.path(RecoveryKeyPath), []byte(key.text.Reveal()), func(f *os.File) error { return f.Chmod(0o600) }); err != nil {
		return made, fmt.Errorf("cannot hand over the recovery key: %w", err)
	}
	return made, nil
}

// guardless says why this machine cannot keep a key from another system that starts on it.
func (o Options) guardless() []error {
	var errs []error
	if on, why := node.SecureBoot(o.Root); !on {
		errs = append(errs, node.Hinted(fmt.Errorf("the firmware does not enforce Secure Boot (%s)", why),
			"sign the image, enrol its keys in the firmware and turn Secure Boot on, or bake with data_encryption = none"))
	}
	if version, err := os.ReadFile(o.path("/sys/class/tpm/tpm0/tpm_version_major")); err != nil || strings.TrimSpace(string(version)) != "2" {
		errs = append(errs, node.Hinted(errors.New("the machine has no TPM 2.0"), "turn it on in the firmware, or bake with data_encryption = none"))
	}
	for _, name := range []string{"tpm2-pcr-public-key.pem", "tpm2-pcr-signature.json"} {
		if _, err := os.Stat(o.path(path.Join("/run/systemd", name))); err != nil {
			errs = append(errs, node.Hinted(fmt.Errorf("the image brings no signed policy of its measurements (%s)", name),
				"bake it with a key that signs PCR policies"))
			break
		}
	}
	return append(errs, o.added()...)
}

// bareRegister is PCR 12 of an image to which nothing was added: systemd-stub measures there what it takes from elsewhere than the signed
// program (more arguments, addons, credentials of the ESP).
var bareRegister = strings.Repeat("0", 2*sha256.Size)

// added says that something was added to the signed image. What is sealed then would open for whatever that was, and for nothing else: not
// once it has changed, as a node.hcl on the ESP does. A node's configuration that comes another way is not measured there.
func (o Options) added() []error {
	value, err := os.ReadFile(o.path("/sys/class/tpm/tpm0/pcr-sha256/12"))
	if err != nil {
		return []error{fmt.Errorf("cannot tell whether something was added to the image: %w", err)}
	}
	if strings.TrimSpace(string(value)) != bareRegister {
		return []error{node.Hinted(errors.New("something was added to the signed image (PCR 12 is not zeros)"),
			"take credentials and addons off the EFI system partition, and io.systemd.stub.kernel-cmdline-extra out of SMBIOS; give node.hcl another way: docs/encryption.md")}
	}
	return nil
}

// deliver brings the encrypted key to a place, reads it back, and tells where it is.
func (o Options) deliver(ctx context.Context, place, name string, sealed []byte) (string, error) {
	if place == node.OnNode {
		where := path.Join(RecoveryDirectory, name)
		return where, o.keep(where, sealed)
	}
	ctx, cancel := context.WithTimeout(ctx, recoveryTimeout)
	defer cancel()
	reader, err := o.depositor()
	if err != nil {
		return "", err
	}
	return place + name, reader.Deposit(ctx, place+name, sealed)
}

// keep writes a file of the node's own state so that a power cut does not take it.
func (o Options) keep(where string, sealed []byte) error {
	file := o.path(where)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("cannot keep the recovery key: %w", err)
	}
	err := replaceFile(file, sealed, func(f *os.File) error { return f.Chmod(0o644) })
	if err == nil {
		err = syncDirectory(filepath.Dir(file))
	}
	if err != nil {
		return fmt.Errorf("cannot keep the recovery key: %w", err)
	}
	back, err := os.ReadFile(file)
	if err == nil && !bytes.Equal(back, sealed) {
		err = errors.New("it is not what was written")
	}
	if err != nil {
		return fmt.Errorf("cannot read back the recovery key: %w", err)
	}
	return nil
}

// depositor reaches servers with the TLS material that configure has left for this boot.
func (o Options) depositor() (node.Reader, error) {
	material := map[string][]byte{}
	for _, name := range []string{"tls.crt", "tls.key", "ca.crt"} {
		content, err := os.ReadFile(o.path(path.Join(node.AgentTLS, name)))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return node.Reader{}, fmt.Errorf("cannot read the node's TLS material: %w", err)
		}
		material[name] = content
	}
	reader := o.reader().Believing(material["ca.crt"])
	reader.Fetcher = o.Network
	if pair, err := tls.X509KeyPair(material["tls.crt"], material["tls.key"]); err == nil {
		reader.Certificate = []tls.Certificate{pair}
	}
	return reader, nil
}

// recoveryKey is a key of 256 bits that a person can type.
type recoveryKey struct {
	text node.Secret
	id   string
}

// modhex are the digits of systemd's recovery keys: letters that lie at the same place on most keyboards.
const modhex = "cbdefghijklnrtuv"

// newRecoveryKey makes a key of the form that systemd-cryptenroll --recovery-key gives: eight groups of eight letters.
func newRecoveryKey(random io.Reader) (recoveryKey, error) {
	var raw [32]byte
	if _, err := io.ReadFull(random, raw[:]); err != nil {
		return recoveryKey{}, fmt.Errorf("cannot make a recovery key: %w", err)
	}
	var text strings.Builder
	for i, b := range raw {
		if i > 0 && i%4 == 0 {
			text.WriteByte('-')
		}
		text.WriteByte(modhex[b>>4])
		text.WriteByte(modhex[b&0xf])
	}
	sum := sha256.Sum256([]byte("strongroom recovery key id\n" + text.String()))
	return recoveryKey{node.NewSecret([]byte(text.String())), hex.EncodeToString(sum[:6])}, nil
}

// encrypt writes down the key with what it is for, in age's text form.
func (k recoveryKey) encrypt(to []string, nodeID string, now time.Time) ([]byte, error) {
	var recipients []age.Recipient
	for _, text := range to {
		r, err := node.ParseRecipient(text)
		if err != nil {
			return nil, errors.New("a recipient is no public key of age")
		}
		recipients = append(recipients, r)
	}
	var out bytes.Buffer
	text := armor.NewWriter(&out)
	w, err := age.Encrypt(text, recipients...)
	if err != nil {
		return nil, err
	}
	_, err = fmt.Fprintf(w, "# Recovery key of the encrypted data partitions of a Strongroom node: docs/encryption.md\nnode: %s\nkey-id: %s\nmade: %s\nkey: %s\n",
		nodeID, k.id, now.UTC().Format(time.RFC3339), k.text.Reveal())
	if err := errors.Join(err, w.Close(), text.Close()); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
