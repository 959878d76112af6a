package aws

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/ebs"
	ebstypes "github.com/aws/aws-sdk-go-v2/service/ebs/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

const (
	blockSize = 512 << 10 // the only one of the EBS direct APIs
	uploads   = 32        // blocks on their way at once: 16 MiB of memory
	gibibyte  = 1 << 30
)

var zeroBlock [blockSize]byte

// snapshot finds the snapshot of this registration, or makes it.
func (p *publication) snapshot(ctx context.Context) (string, error) {
	found, err := p.clients.EC2.DescribeSnapshots(ctx, &ec2.DescribeSnapshotsInput{
		OwnerIds: []string{"self"},
		Filters:  []types.Filter{{Name: ptr("tag:" + tagRegistration), Values: []string{p.registration}}, {Name: ptr("status"), Values: []string{"completed"}}},
	})
	if err != nil {
		return "", fmt.Errorf("cannot look for the snapshot: %w", err)
	}
	if len(found.Snapshots) > 0 {
		id := *found.Snapshots[0].SnapshotId
		p.log.Info("Using the snapshot " + id + " of the same image")
		return id, nil
	}

	input := &ebs.StartSnapshotInput{
		VolumeSize:  ptr((p.image.Size + gibibyte - 1) / gibibyte),
		Description: ptr(p.image.Name + " " + p.image.Version),
		Timeout:     ptr(int32(60)), // minutes until AWS itself gives up an upload that has died
	}
	for _, t := range p.resourceTags() {
		input.Tags = append(input.Tags, ebstypes.Tag{Key: t.Key, Value: t.Value})
	}
	if p.config.KMSKey != "" {
		input.Encrypted, input.KmsKeyArn = ptr(true), &p.config.KMSKey
	}
	started, err := p.clients.EBS.StartSnapshot(ctx, input)
	if err != nil {
		return "", fmt.Errorf("cannot start the snapshot: %w", err)
	}
	id := *started.SnapshotId
	p.undo.Made("snapshot "+id, p.command("delete-snapshot --snapshot-id "+id), func(ctx context.Context) error {
		_, err := p.clients.EC2.DeleteSnapshot(ctx, &ec2.DeleteSnapshotInput{SnapshotId: &id})
		return err
	})
	if started.BlockSize == nil || *started.BlockSize != blockSize {
		return "", errors.New("cannot fill the snapshot: its blocks are not of 512 KiB")
	}
	p.log.Info("Uploading " + p.image.File + " to " + id + "...")
	sent, err := p.upload(ctx, id)
	if err != nil {
		return "", fmt.Errorf("cannot fill the snapshot %s: %w", id, err)
	}
	_, err = p.clients.EBS.CompleteSnapshot(ctx, &ebs.CompleteSnapshotInput{
		SnapshotId: &id, ChangedBlocksCount: ptr(int32(sent.count)), Checksum: &sent.checksum,
		ChecksumAlgorithm: ebstypes.ChecksumAlgorithmChecksumAlgorithmSha256, ChecksumAggregationMethod: ebstypes.ChecksumAggregationMethodChecksumAggregationLinear,
	})
	if err != nil {
		return "", fmt.Errorf("cannot complete the snapshot %s: %w", id, err)
	}
	wait := ec2.NewSnapshotCompletedWaiter(looker{snapshots: p.clients.EC2.DescribeSnapshots}, func(o *ec2.SnapshotCompletedWaiterOptions) {
		if p.clients.Poll > 0 {
			o.MinDelay, o.MaxDelay = p.clients.Poll, p.clients.Poll
		}
	})
	if err := wait.Wait(ctx, &ec2.DescribeSnapshotsInput{SnapshotIds: []string{id}}, waitLimit); err != nil {
		return "", fmt.Errorf("the snapshot %s does not get ready: %w", id, err)
	}
	return id, nil
}

// uploaded says what CompleteSnapshot is told: how many blocks there are, and the SHA-256 of their checksums in
// the order of the disk.
type uploaded struct {
	count    int
	checksum string
}

// upload sends every block that is not all zero. A block that was never sent reads as zeros.
func (p *publication) upload(ctx context.Context, id string) (uploaded, error) {
	disk, err := os.Open(p.image.File)
	if err != nil {
		return uploaded{}, err
	}
	defer disk.Close()
	pool := sync.Pool{New: func() any { return new([blockSize]byte) }}
	whole := sha256.New()
	count := 0
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(uploads)
	for at := int64(0); at < p.image.Size && groupCtx.Err() == nil; at += blockSize {
		data, err := unix.Seek(int(disk.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break // a hole up to the end
		}
		if err == nil { // else the file system knows no holes
			at = data / blockSize * blockSize
		}
		block := pool.Get().(*[blockSize]byte)
		n := int(min(blockSize, p.image.Size-at))
		if _, err := disk.ReadAt(block[:n], at); err != nil {
			return uploaded{}, errors.Join(err, group.Wait())
		}
		clear(block[n:])
		if *block == zeroBlock {
			pool.Put(block)
			continue
		}
		sum := sha256.Sum256(block[:])
		whole.Write(sum[:])
		count++
		index := int32(at / blockSize)
		group.Go(func() error {
			defer pool.Put(block)
			_, err := p.clients.EBS.PutSnapshotBlock(groupCtx, &ebs.PutSnapshotBlockInput{
				SnapshotId: &id, BlockIndex: &index, BlockData: bytes.NewReader(block[:]), DataLength: ptr(int32(blockSize)),
				Checksum: ptr(base64.StdEncoding.EncodeToString(sum[:])), ChecksumAlgorithm: ebstypes.ChecksumAlgorithmChecksumAlgorithmSha256,
			})
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return uploaded{}, err
	}
	if err := ctx.Err(); err != nil {
		return uploaded{}, err
	}
	if count == 0 {
		return uploaded{}, errors.New("the disk holds nothing but zeros")
	}
	return uploaded{count, base64.StdEncoding.EncodeToString(whole.Sum(nil))}, nil
}
