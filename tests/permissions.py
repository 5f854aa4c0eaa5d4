"""What each function may do. `tests/deploy/test_iam.py` holds the roles to it, both ways; and every
test that runs a function holds that to it, too: none asks for what its role would refuse.
"""

from tests.tables import rows

TRIED = """
                                    Collect   Retry     Promote   Relay     Leads     Sweep
GetItem                             yes       yes       yes       yes       yes       yes
PutItem                             yes       yes       yes       yes       yes       yes
UpdateItem                          yes       yes       yes       yes       yes       yes
DeleteItem                          .         .         .         yes       yes       yes
Query                               yes       yes       yes       yes       yes       yes
Query by-stage                      .         .         .         .         yes       .
Query pending                       .         .         .         .         .         yes
Query due                           .         .         .         .         .         yes
Scan                                .         .         .         .         .         yes
Scan due                            .         .         .         .         .         .
BatchGetItem                        .         .         .         .         .         .
BatchWriteItem                      .         .         .         .         .         .
DescribeTable                       .         .         .         .         .         .
UpdateTable                         .         .         .         .         .         .
TransactWriteItems Put              yes       yes       yes       yes       yes       yes
TransactWriteItems Update           yes       yes       yes       yes       yes       yes
TransactWriteItems Delete           .         .         .         yes       yes       yes
TransactWriteItems ConditionCheck   .         .         .         .         .         .
TransactGetItems Get                yes       yes       yes       yes       yes       yes
SendMessage                         yes       .         .         .         .         .
ReceiveMessage                      .         yes       .         .         .         .
DeleteMessage                       .         yes       .         .         .         .
GetQueueAttributes                  .         yes       .         .         .         .
SetQueueAttributes                  .         .         .         .         .         .
PurgeQueue                          .         .         .         .         .         .
"""

READ = """
                                      Collect   Retry   Promote   Relay   Leads   Sweep
sns:Publish topic                     .         .       .         yes     .       yes
sns:Publish another topic             .         .       .         .       .       .
sns:Subscribe topic                   .         .       .         .       .       .
s3:PutObject failure                  .         .       yes       yes     .       .
s3:ListBucket failures                .         .       yes       yes     .       .
s3:GetObject failure                  .         .       .         .       .       .
s3:DeleteObject failure               .         .       .         .       .       .
s3:PutObject another bucket           .         .       .         .       .       .
logs:CreateLogStream own logs         yes       yes     yes       yes     yes     yes
logs:PutLogEvents own logs            yes       yes     yes       yes     yes     yes
logs:PutLogEvents another log         .         .       .         .       .       .
logs:DeleteLogGroup own logs          .         .       .         .       .       .
dynamodb:DescribeStream stream        .         .       yes       yes     .       .
dynamodb:GetShardIterator stream      .         .       yes       yes     .       .
dynamodb:GetRecords stream            .         .       yes       yes     .       .
dynamodb:ListStreams stream           .         .       yes       yes     .       .
dynamodb:GetItem another table        .         .       .         .       .       .
dynamodb:DeleteTable table            .         .       .         .       .       .
sqs:SendMessage another queue         .         .       .         .       .       .
lambda:InvokeFunction a function      .         .       .         .       .       .
iam:PassRole a role                   .         .       .         .       .       .
sts:AssumeRole a role                 .         .       .         .       .       .
"""

FUNCTIONS = [function for function, _ in next(iter(rows(TRIED).values()))]

type Allowed = dict[tuple[str, str], bool]
"""Whether it is allowed, by the row of a table and the function."""


def intended(table: str) -> Allowed:
    """Return what the table says."""
    return {
        (row, function): cell == "yes"
        for row, cells in rows(table).items()
        for function, cell in cells
    }
