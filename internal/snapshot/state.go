package snapshot

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// State is what state.bin tells without any key: the names of the entries, and the few that are not encrypted by the barrier.
type State struct {
	Entries int
	Seal    string // "type" of core/seal-config
	KeyID   string // of the key that wraps core/hsm/barrier-unseal-keys
	keyring bool
}

// maxEntry is more than an entry may have: max_entry_size is 1 MiB by default, and a transaction's chunks are put together before.
const maxEntry = 64 << 20

// maxRead is of the entries that are looked at.
const maxRead = 64 << 10

// ReadState reads the storage as Raft's state machine writes it: entries of protobuf (string key = 1, bytes value = 2), each behind its
// length. github.com/hashicorp/vault, physical/raft/fsm.go (Persist) and sdk/plugin/pb. Only the beginning of an entry is kept.
func ReadState(r io.Reader) (State, error) {
	in := bufio.NewReaderSize(r, 32<<10)
	var s State
	var head [maxRead]byte
	for {
		length, err := binary.ReadUvarint(in)
		if err == io.EOF {
			return s, nil
		}
		if err != nil {
			return s, err
		}
		if length == 0 || length > maxEntry {
			return s, fmt.Errorf("entry %d has %d bytes", s.Entries+1, length)
		}
		begin := head[:min(length, 1024)]
		if _, err := io.ReadFull(in, begin); err != nil {
			return s, whole(err)
		}
		key, err := entryKey(begin)
		if err != nil {
			return s, fmt.Errorf("entry %d: %w", s.Entries+1, err)
		}
		if of(key) && length <= maxRead {
			begin = head[:length]
			if _, err := io.ReadFull(in, begin[min(length, 1024):]); err != nil {
				return s, whole(err)
			}
			if err := s.note(key, begin); err != nil {
				return s, err
			}
		} else if _, err := in.Discard(int(length) - len(begin)); err != nil {
			return s, whole(err)
		}
		s.keyring = s.keyring || key == "core/keyring"
		s.Entries++
	}
}

// Initialized says what a storage lacks from which a server could start.
func (s State) Initialized() error {
	switch {
	case s.Entries == 0:
		return errors.New("the storage is empty")
	case !s.keyring:
		return errors.New("the storage has no core/keyring: it is none of a server that was initialized")
	case s.Seal == "":
		return errors.New("the storage has no core/seal-config: it is none of a server that was initialized")
	}
	return nil
}

func of(key string) bool { return key == "core/seal-config" || key == "core/hsm/barrier-unseal-keys" }

func (s *State) note(key string, entry []byte) error {
	value, err := field(entry, 2)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	if key == "core/seal-config" {
		var config struct {
			Type string `json:"type"`
		}
		if err := json.Unmarshal(value, &config); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		s.Seal = printable(config.Type)
		return nil
	}
	s.KeyID = keyIDOf(value)
	return nil
}

// keyIDOf finds the id in a wrapping.BlobInfo of hashicorp/go-kms-wrapping: key_info = 5, key_id = 3. With the seal "shamir" there is
// none, and a blob of another form is no reason to have no backup.
func keyIDOf(blob []byte) string {
	info, err := field(blob, 5)
	if err != nil {
		return ""
	}
	id, err := field(info, 3)
	if err != nil {
		return ""
	}
	return printable(string(id))
}

// printable keeps what comes from the storage from being more than a name.
func printable(text string) string {
	if len(text) > 512 {
		text = text[:512]
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, text)
}

func entryKey(begin []byte) (string, error) {
	const tag = 1<<3 | 2
	if len(begin) < 2 || begin[0] != tag {
		return "", errors.New("it does not begin with a key")
	}
	length, n := binary.Uvarint(begin[1:])
	if n <= 0 || length == 0 {
		return "", errors.New("its key has no length")
	}
	// The keys that matter here are short; of a long one the beginning says enough.
	rest := begin[1+n:]
	return string(rest[:min(length, uint64(len(rest)))]), nil
}

// field gives the first field of a message of protobuf with this number, which has to be one with a length. One that is not there is empty.
func field(message []byte, number uint64) ([]byte, error) {
	broken := errors.New("it is no message of protobuf")
	for len(message) > 0 {
		tag, n := binary.Uvarint(message)
		if n <= 0 {
			return nil, broken
		}
		message = message[n:]
		switch tag & 7 {
		case 0:
			if _, n = binary.Uvarint(message); n <= 0 {
				return nil, broken
			}
			message = message[n:]
		case 2:
			length, n := binary.Uvarint(message)
			if n <= 0 || length > uint64(len(message)-n) {
				return nil, broken
			}
			value := message[n : n+int(length)]
			if tag>>3 == number {
				return value, nil
			}
			message = message[n+int(length):]
		case 1, 5:
			n := map[uint64]int{1: 8, 5: 4}[tag&7]
			if len(message) < n {
				return nil, broken
			}
			message = message[n:]
		default:
			return nil, broken
		}
	}
	return nil, nil
}

// whole makes the end of an entry that is cut off one that nobody takes for the end of the storage.
func whole(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
