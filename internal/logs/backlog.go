package logs

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Backlog is how much of the journal has not left the node.
type Backlog struct {
	Newest  time.Time // the newest entry of the journal
	Shipped time.Time // the newest one that the receiver has confirmed; zero: none yet
	// Entries that wait. They are counted by their numbers, so that some that were dropped meanwhile are counted too.
	Entries uint64
}

// UploadState is where systemd-journal-upload, as the unit of the image starts it, keeps what was confirmed.
const UploadState = "/var/lib/private/strongroom-ship/state"

// JournalDirectory is where journald keeps a journal that survives a restart.
const JournalDirectory = "/var/log/journal"

// tail is the end of a journal, or a place in it.
type tail struct {
	sequence string // id of the sequence that numbers are of, in hex
	number   uint64
	at       time.Time
}

// LookAtBacklog compares the end of this machine's journal with what was confirmed. It reads one header of 272 bytes and one short file.
func LookAtBacklog(journal, state string) (Backlog, error) {
	end, err := journalTail(journal)
	if err != nil {
		return Backlog{}, fmt.Errorf("cannot see how long the journal is: %w", err)
	}
	b := Backlog{Newest: end.at, Entries: end.number}
	done, err := uploaded(state)
	if errors.Is(err, fs.ErrNotExist) {
		return b, nil
	}
	if err != nil {
		return Backlog{}, fmt.Errorf("cannot see what of the journal was shipped: %w", err)
	}
	b.Shipped = done.at
	switch {
	case done.sequence != end.sequence: // another journal's: all of this one waits
	case done.number >= end.number:
		b.Entries = 0
	default:
		b.Entries = end.number - done.number
	}
	return b, nil
}

// journalTail reads the header of the file that journald writes to.
func journalTail(directory string) (tail, error) {
	files, err := filepath.Glob(filepath.Join(directory, "*", "system.journal"))
	if err != nil {
		return tail{}, err
	}
	if len(files) != 1 {
		return tail{}, fmt.Errorf("%s has the journals of %d machines, and not that of one", directory, len(files))
	}
	f, err := os.Open(files[0])
	if err != nil {
		return tail{}, err
	}
	defer f.Close()
	header := make([]byte, headerSize)
	if _, err := io.ReadFull(f, header); err != nil {
		return tail{}, fmt.Errorf("%s: %w", files[0], err)
	}
	t, err := readHeader(header)
	if err != nil {
		return tail{}, fmt.Errorf("%s: %w", files[0], err)
	}
	return t, nil
}

// headerSize is as far as the header is read: it has had these fields since its first version.
// https://systemd.io/JOURNAL_FILE_FORMAT/#header
const headerSize = 208

func readHeader(header []byte) (tail, error) {
	if len(header) < headerSize || string(header[:8]) != "LPKSHHRH" {
		return tail{}, errors.New("it is no file of a journal")
	}
	const sequence, number, realtime = 72, 160, 192
	return tail{
		sequence: hex.EncodeToString(header[sequence : sequence+16]),
		number:   binary.LittleEndian.Uint64(header[number:]),
		at:       microseconds(binary.LittleEndian.Uint64(header[realtime:])),
	}, nil
}

// microseconds is a time of the journal; zero for none, and for one that nobody means.
func microseconds(n uint64) time.Time {
	const year10000 = 253402300800000000
	if n == 0 || n >= year10000 {
		return time.Time{}
	}
	return time.UnixMicro(int64(n)).UTC()
}

// uploaded reads the cursor that was confirmed last.
func uploaded(state string) (tail, error) {
	f, err := os.Open(state)
	if err != nil {
		return tail{}, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 4<<10))
	if err != nil {
		return tail{}, err
	}
	for line := range strings.Lines(string(text)) {
		if cursor, ok := strings.CutPrefix(strings.TrimSpace(line), "LAST_CURSOR="); ok {
			t, err := readCursor(strings.Trim(cursor, `"'`))
			if err != nil {
				return tail{}, fmt.Errorf("%s: %w", state, err)
			}
			return t, nil
		}
	}
	return tail{}, fmt.Errorf("%s has no cursor", state)
}

// readCursor reads what of a journal's cursor says where it is: the sequence, the number in it and the time.
func readCursor(cursor string) (tail, error) {
	var t tail
	var number, at uint64
	var err error
	for part := range strings.SplitSeq(cursor, ";") {
		name, value, _ := strings.Cut(part, "=")
		switch name {
		case "s":
			t.sequence = value
		case "i":
			number, err = strconv.ParseUint(value, 16, 64)
		case "t":
			at, err = strconv.ParseUint(value, 16, 64)
		}
		if err != nil {
			return tail{}, errors.New("its cursor is none")
		}
	}
	if t.sequence == "" || number == 0 || at == 0 {
		return tail{}, errors.New("its cursor is none")
	}
	t.number, t.at = number, microseconds(at)
	return t, nil
}
