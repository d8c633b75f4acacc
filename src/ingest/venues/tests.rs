//! What holds for every exchange that can be had live.

use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::event::Kind;
use crate::ingest::live::{Resync, Topic};
use crate::ingest::rows::Rows;
use crate::ingest::{Dialect, Frame, StreamKey};
use crate::quantity::{Instrument, TsNs};

/// What a host that the venue does not know is called.
const HOST: &str = "127.0.0.1:1234";

/// Messages of one exchange as its documentation shows them, one for each kind that is offered.
struct Delivered {
    exchange: &'static str,
    symbol: &'static str,
    /// `SYMBOL` stands for the symbol.
    messages: &'static [&'static str],
    /// The reply that the book begins with, where it does not come in the stream.
    snapshot: Option<&'static str>,
}

const OKX: [&str; 3] = [
    r#"{"arg":{"channel":"books","instId":"SYMBOL"},"action":"snapshot","data":[{"asks":[["8476.98",
    "415","0","13"]],"bids":[["8476.97","256","0","12"]],"ts":"1597026383085","checksum":0,
    "prevSeqId":-1,"seqId":123456}]}"#,
    r#"{"arg":{"channel":"trades-all","instId":"SYMBOL"},"data":[{"instId":"SYMBOL","tradeId":
    "130639474","px":"42219.9","sz":"0.12060306","side":"buy","source":"0","ts":
    "1630048897897"}]}"#,
    r#"{"arg":{"channel":"bbo-tbt","instId":"SYMBOL"},"data":[{"asks":[["111.06","55154","0","2"]],
    "bids":[["111.05","57745","0","2"]],"ts":"1670324386802","checksum":0,"seqId":363996337}]}"#,
];

const OKX_STATE: [&str; 4] = [
    r#"{"arg":{"channel":"tickers","instId":"SYMBOL"},"data":[{"instType":"SWAP","instId":"SYMBOL",
    "last":"9999.99","lastSz":"0.1","askPx":"9999.99","askSz":"11","bidPx":"8888.88","bidSz":"5",
    "ts":"1597026383085"}]}"#,
    r#"{"arg":{"channel":"mark-price","instId":"SYMBOL"},"data":[{"instType":"SWAP","instId":
    "SYMBOL","markPx":"0.1","ts":"1597026383085"}]}"#,
    r#"{"arg":{"channel":"open-interest","instId":"SYMBOL"},"data":[{"instId":"SYMBOL","instType":
    "SWAP","oi":"2216113.01","oiCcy":"22161.1","oiUsd":"1939251795.5","ts":"1743041250440"}]}"#,
    r#"{"arg":{"channel":"liquidation-orders","instType":"SWAP"},"data":[{"details":[{"bkLoss":"0",
    "bkPx":"0.007831","ccy":"","posSide":"short","side":"buy","sz":"13","ts":"1692266434010"}],
    "instFamily":"A-B","instId":"SYMBOL","instType":"SWAP","uly":"A-B"}]}"#,
];

const OKX_FUNDING: &str = r#"{"arg":{"channel":"funding-rate","instId":"SYMBOL"},"data":[{
    "formulaType":"noRate","fundingRate":"0.0001875391284828","fundingTime":"1700726400000",
    "instId":
    "SYMBOL","instType":"SWAP","method":"current_period","nextFundingRate":"","nextFundingTime":
    "1700755200000","settState":"settled","ts":"1700724675402"}]}"#;

const BYBIT: [&str; 3] = [
    r#"{"topic":"orderbook.200.SYMBOL","type":"snapshot","ts":1672304484978,"data":{"s":"SYMBOL",
    "b":[["16493.50","0.006"]],"a":[["16611.00","0.029"]],"u":18521288,"seq":7961638724},
    "cts":1672304484976}"#,
    r#"{"topic":"publicTrade.SYMBOL","type":"snapshot","ts":1672304486868,"data":[{"T":
    1672304486865,
    "s":"SYMBOL","S":"Buy","v":"0.001","p":"16578.50","L":"PlusTick","i":"20f43950-d8dd-5b31-9112",
    "BT":false,"RPI":false,"seq":1783284617}]}"#,
    r#"{"topic":"orderbook.1.SYMBOL","type":"snapshot","ts":1672304484978,"data":{"s":"SYMBOL",
    "b":[["16493.50","0.006"]],"a":[["16611.00","0.029"]],"u":1,"seq":7},"cts":1672304484976}"#,
];

const BITFINEX: [&str; 6] = [
    r#"{"event":"subscribed","channel":"book","chanId":1,"symbol":"tSYMBOL","prec":"P0","freq":"F0",
    "len":"250","pair":"SYMBOL"}"#,
    r#"[1,[[17082,1,0.0674],[17083,1,-0.3]],1,1672304484978]"#,
    r#"{"event":"subscribed","channel":"trades","chanId":2,"symbol":"tSYMBOL","pair":"SYMBOL"}"#,
    r#"[2,"te",[401597395,1574694478808,0.005,7245.3],2,1672304484979]"#,
    r#"{"event":"subscribed","channel":"ticker","chanId":3,"symbol":"tSYMBOL","pair":"SYMBOL"}"#,
    r#"[3,[7616.5,31.89,7617.5,43.3,-550.8,-0.0674,7617.1,8314.7,8257.8,7500],3,1672304484980]"#,
];

/// The first trades of a connection are old ones.
const HYPERLIQUID: [&str; 5] = [
    r#"{"channel":"l2Book","data":{"coin":"SYMBOL","time":1754450974231,"levels":[[{"px":"113377.0",
    "sz":"7.6699","n":17}],[{"px":"113397.0","sz":"0.11543","n":3}]]}}"#,
    r#"{"channel":"trades","data":[{"coin":"SYMBOL","side":"A","px":"1.9","sz":"10.5","hash":"0xdd",
    "time":1730160015113,"tid":61,"users":["0x1","0x2"]}]}"#,
    r#"{"channel":"trades","data":[{"coin":"SYMBOL","side":"B","px":"1.8","sz":"10.5","hash":"0xde",
    "time":1730160015114,"tid":62,"users":["0x1","0x2"]}]}"#,
    r#"{"channel":"bbo","data":{"coin":"SYMBOL","time":1708622398623,"bbo":[{"px":"19900","sz":"1",
    "n":1},{"px":"20100","sz":"1","n":1}]}}"#,
    r#"{"channel":"activeAssetCtx","data":{"coin":"SYMBOL","ctx":{"dayNtlVlm":"1169046.29406",
    "funding":"0.0000125","openInterest":"688.11","oraclePx":"14.32","markPx":"14.3161"}}}"#,
];

const BINANCE_FUTURES: [&str; 5] = [
    r#"{"stream":"x@depth@100ms","data":{"e":"depthUpdate","E":123456789,"T":123456788,"s":"SYMBOL",
    "ps":"SYMBOL","U":157,"u":160,"pu":149,"b":[["0.0024","10"]],"a":[["0.0026","100"]]}}"#,
    r#"{"stream":"x@trade","data":{"e":"trade","E":1672304486868,"T":1672304486865,"s":"SYMBOL",
    "t":1,"p":"16578.50","q":"0.001","X":"MARKET","m":false}}"#,
    r#"{"stream":"x@bookTicker","data":{"e":"bookTicker","u":400900217,"E":1568014460893,"T":
    1568014460891,"s":"SYMBOL","ps":"SYMBOL","b":"25.35190000","B":"31.21","a":"25.3652","A":
    "40"}}"#,
    r#"{"stream":"x@markPrice@1s","data":{"e":"markPriceUpdate","E":1562305380000,"s":"SYMBOL",
    "p":"11794.15","ap":"11794.14","i":"11784.62","P":"11784.25","r":"0.00038","T":
    1562306400000}}"#,
    r#"{"stream":"x@forceOrder","data":{"e":"forceOrder","E":1568014460893,"o":{"s":"SYMBOL",
    "ps":"SYMBOL","S":"SELL","o":"LIMIT","f":"IOC","q":"0.014","p":"9910","ap":"9910","X":"FILLED",
    "l":"0.014","z":"0.014","T":1568014460893}}}"#,
];

const BITGET: [&str; 3] = [
    r#"{"action":"snapshot","arg":{"instType":"TYPE","channel":"books","instId":"SYMBOL"},"data":
    [{"asks":[["27000.5","8.760"]],"bids":[["27000.0","2.710"]],"checksum":0,"seq":123,"ts":
    "1695716059516"}],"ts":1695716059516}"#,
    r#"{"action":"update","arg":{"instType":"TYPE","channel":"trade","instId":"SYMBOL"},"data":
    [{"ts":"1695716760565","price":"27000.5","size":"0.001","side":"buy","tradeId":"1"}],"ts":
    1695716761589}"#,
    r#"{"action":"snapshot","arg":{"instType":"TYPE","channel":"books1","instId":"SYMBOL"},"data":
    [{"asks":[["27000.5","8.760"]],"bids":[["27000.0","2.710"]],"checksum":0,"seq":123,"ts":
    "1695716059516"}],"ts":1695716059516}"#,
];

const DELIVERED: [Delivered; 22] = [
    Delivered {
        exchange: "binance",
        symbol: "BNBBTC",
        messages: &[
            r#"{"stream":"x@depth@100ms","data":{"e":"depthUpdate","E":1672515782136,"s":"SYMBOL",
            "U":157,"u":160,"b":[["0.0024","10"]],"a":[["0.0026","100"]]}}"#,
            r#"{"stream":"x@trade","data":{"e":"trade","E":1672515782136,"s":"SYMBOL","t":12345,"p":
            "0.001","q":"100","T":1672515782136,"m":true,"M":true}}"#,
            r#"{"stream":"x@bookTicker","data":{"u":400900217,"s":"SYMBOL","b":"25.35190000","B":
            "31.21","a":"25.36520000","A":"40.66"}}"#,
        ],
        snapshot: Some(r#"{"lastUpdateId":158,"bids":[["4.0","431"]],"asks":[["4.2","12"]]}"#),
    },
    Delivered {
        exchange: "binance-futures",
        symbol: "BTCUSDT",
        messages: &BINANCE_FUTURES,
        snapshot: Some(
            r#"{"lastUpdateId":158,"E":1589436922972,"T":1589436922959,"bids":[["4.0","431"]],
            "asks":[["4.2","12"]]}"#,
        ),
    },
    Delivered {
        exchange: "binance-delivery",
        symbol: "BTCUSD_PERP",
        messages: &BINANCE_FUTURES,
        snapshot: Some(
            r#"{"lastUpdateId":158,"symbol":"BTCUSD_PERP","pair":"BTCUSD","E":1589436922972,"T":
            1589436922959,"bids":[["4.0","431"]],"asks":[["4.2","12"]]}"#,
        ),
    },
    Delivered { exchange: "okex", symbol: "BTC-USDT", messages: &OKX, snapshot: None },
    Delivered {
        exchange: "okex-swap",
        symbol: "BTC-USDT-SWAP",
        messages: &[
            OKX[0],
            OKX[1],
            OKX[2],
            OKX_STATE[0],
            OKX_STATE[1],
            OKX_STATE[2],
            OKX_STATE[3],
            OKX_FUNDING,
        ],
        snapshot: None,
    },
    Delivered {
        exchange: "okex-futures",
        symbol: "BTC-USD-251226",
        messages: &[OKX[0], OKX[1], OKX[2], OKX_STATE[0], OKX_STATE[1], OKX_STATE[2], OKX_STATE[3]],
        snapshot: None,
    },
    Delivered {
        exchange: "okex-options",
        symbol: "BTC-USD-251226-40000-C",
        messages: &[OKX[0], OKX[1], OKX[2], OKX_STATE[0], OKX_STATE[1], OKX_STATE[3]],
        snapshot: None,
    },
    Delivered {
        exchange: "bybit",
        symbol: "BTCUSDT",
        messages: &[
            BYBIT[0],
            BYBIT[1],
            BYBIT[2],
            r#"{"topic":"tickers.SYMBOL","type":"snapshot","data":{"symbol":"SYMBOL","lastPrice":
            "17216.00","markPrice":"17217.33","indexPrice":"17227.36","openInterest":"68744.761",
            "nextFundingTime":"1673280000000","fundingRate":"-0.000212","bid1Price":"17215.50",
            "bid1Size":"84.489","ask1Price":"17216.00","ask1Size":"83.020"},"cs":24987956059,
            "ts":1673272861686}"#,
            r#"{"topic":"allLiquidation.SYMBOL","type":"snapshot","ts":1739502303204,"data":[{"T":
            1739502302929,"s":"SYMBOL","S":"Sell","v":"20000","p":"0.04499"}]}"#,
        ],
        snapshot: None,
    },
    Delivered { exchange: "bybit-spot", symbol: "BTCUSDT", messages: &BYBIT, snapshot: None },
    Delivered {
        exchange: "coinbase",
        symbol: "BTC-USD",
        messages: &[
            r#"{"channel":"l2_data","client_id":"","timestamp":"2023-02-09T20:32:50.714964855Z",
            "sequence_num":0,"events":[{"type":"snapshot","product_id":"SYMBOL","updates":[{"side":
            "bid","event_time":"1970-01-01T00:00:00Z","price_level":"21921.73","new_quantity":
            "0.06317902"},{"side":"offer","event_time":"1970-01-01T00:00:00Z","price_level":
            "21921.74","new_quantity":"0.02"}]}]}"#,
            r#"{"channel":"market_trades","client_id":"","timestamp":
            "2023-02-09T20:19:35.39625135Z",
            "sequence_num":1,"events":[{"type":"update","trades":[{"trade_id":"1","product_id":
            "SYMBOL","price":"1260.01","size":"0.3","side":"BUY","time":
            "2019-08-14T20:42:27.265Z"}]}]}"#,
            r#"{"channel":"ticker","client_id":"","timestamp":"2023-02-09T20:30:37.167359596Z",
            "sequence_num":2,"events":[{"type":"snapshot","tickers":[{"type":"ticker","product_id":
            "SYMBOL","price":"21932.98","best_bid":"21931.98","best_bid_quantity":"8000.21",
            "best_ask":"21933.98","best_ask_quantity":"8038.07"}]}]}"#,
        ],
        snapshot: None,
    },
    Delivered {
        exchange: "kraken",
        symbol: "MATIC/USD",
        messages: &[
            r#"{"channel":"book","type":"snapshot","data":[{"symbol":"SYMBOL","bids":[{"price":
            0.5666,
            "qty":4831.75496356}],"asks":[{"price":0.5668,"qty":4410.79769741}],"checksum":
            1234}]}"#,
            r#"{"channel":"trade","type":"update","data":[{"symbol":"SYMBOL","side":"sell","price":
            0.5117,"qty":40.0,"ord_type":"market","trade_id":4665906,"timestamp":
            "2023-09-25T07:49:37.708706Z"}]}"#,
            r#"{"channel":"ticker","type":"update","data":[{"symbol":"SYMBOL","bid":0.10025,
            "bid_qty":740.0,"ask":0.10035,"ask_qty":740.0,"last":0.10035,"volume":997038.98383185,
            "vwap":0.10148,"low":0.09979,"high":0.10285,"change":-0.00017,"change_pct":-0.17,
            "timestamp":"2023-09-25T09:04:31.742648Z"}]}"#,
        ],
        snapshot: None,
    },
    Delivered { exchange: "bitget", symbol: "BTCUSDT", messages: &BITGET, snapshot: None },
    Delivered {
        exchange: "bitget-futures",
        symbol: "BTCUSDT",
        messages: &[
            BITGET[0],
            BITGET[1],
            BITGET[2],
            r#"{"action":"snapshot","arg":{"instType":"TYPE","channel":"ticker","instId":
            "SYMBOL"},
            "data":[{"instId":"SYMBOL","lastPr":"27000.5","bidPr":"27000","askPr":"27000.5","bidSz":
            "2.71","askSz":"8.76","fundingRate":"0.000010","nextFundingTime":"1695722400000",
            "markPrice":"27000.0","indexPrice":"25702.4","holdingAmount":"929.502","symbolType":"1",
            "ts":"1695715383021"}],"ts":1695715383039}"#,
            r#"{"data":[{"symbol":"SYMBOL","side":"buy","price":"89000","amount":"37.722858","ts":
            "1736371332162"}],"arg":{"instType":"usdt-futures","topic":"liquidation"},"action":
            "update","ts":1736371332162}"#,
        ],
        snapshot: None,
    },
    Delivered {
        exchange: "deribit",
        symbol: "BTC-PERPETUAL",
        messages: &[
            r#"{"jsonrpc":"2.0","method":"subscription","params":{"channel":"book.SYMBOL.100ms",
            "data":{"type":"snapshot","timestamp":1554373962454,"instrument_name":"SYMBOL",
            "change_id":297217,"bids":[["new",5042.34,30]],"asks":[["new",5042.64,40]]}}}"#,
            r#"{"jsonrpc":"2.0","method":"subscription","params":{"channel":"trades.SYMBOL.100ms",
            "data":[{"trade_seq":30289442,"trade_id":"48079269","timestamp":1590484512188,
            "tick_direction":2,"price":8950.0,"mark_price":8948.9,"instrument_name":"SYMBOL",
            "index_price":8955.88,"direction":"sell","amount":10.0,"liquidation":"T"}]}}"#,
            r#"{"jsonrpc":"2.0","method":"subscription","params":{"channel":"quote.SYMBOL","data":
            {"timestamp":1550658624149,"instrument_name":"SYMBOL","best_bid_price":3914.97,
            "best_bid_amount":40,"best_ask_price":3996.61,"best_ask_amount":50}}}"#,
            r#"{"jsonrpc":"2.0","method":"subscription","params":{"channel":"ticker.SYMBOL.100ms",
            "data":{"timestamp":1623060194301,"state":"open","open_interest":27197.0,
            "mark_price":36931.16,"last_price":36931.0,"instrument_name":"SYMBOL","index_price":
            36926.29,"current_funding":0.0,"best_bid_price":36927.5,"best_bid_amount":10.0,
            "best_ask_price":36938.0,"best_ask_amount":20.0}}}"#,
        ],
        snapshot: None,
    },
    Delivered {
        exchange: "kucoin",
        symbol: "BTC-USDT",
        messages: &[
            r#"{"topic":"/market/level2:SYMBOL","type":"message","subject":"trade.l2update","data":
            {"changes":{"asks":[["67996.7","0.01","14"]],"bids":[["67992.3","0.1","15"]]},
            "sequenceEnd":15,"sequenceStart":14,"symbol":"SYMBOL","time":1729816425625}}"#,
            r#"{"topic":"/market/match:SYMBOL","type":"message","subject":"trade.l3match","data":
            {"makerOrderId":"671b5007389355000701b1d3","price":"67523","sequence":
            "11067996711960577",
            "side":"buy","size":"0.003","symbol":"SYMBOL","takerOrderId":"671b50161777ff00074c168d",
            "time":"1729843222921000000","tradeId":"11067996711960577","type":"match"}}"#,
            r#"{"topic":"/market/ticker:SYMBOL","type":"message","subject":"trade.ticker","data":
            {"bestAsk":"67218.7","bestAskSize":"1.9","bestBid":"67218.6","bestBidSize":"0.01",
            "price":"67220","sequence":"14691455768","size":"0.0001","time":1729757723612}}"#,
        ],
        snapshot: Some(
            r#"{"code":"200000","data":{"time":1729176273859,"sequence":"14","bids":[["66976.4",
            "0.69109872"]],"asks":[["66976.5","0.05408199"]]}}"#,
        ),
    },
    Delivered {
        exchange: "gate-io",
        symbol: "BTC_USDT",
        messages: &[
            r#"{"time":1606294781,"time_ms":1606294781236,"channel":"spot.order_book_update",
            "event":
            "update","result":{"t":1606294781123,"e":"depthUpdate","E":1606294781,"s":"SYMBOL","U":
            48776301,"u":48776306,"b":[["19137.74","0.0001"]],"a":[["19137.75","0.6135"]]}}"#,
            r#"{"time":1606292218,"time_ms":1606292218231,"channel":"spot.trades","event":"update",
            "result":{"id":309143071,"create_time":1606292218,"create_time_ms":"1606292218213.4578",
            "side":"sell","currency_pair":"SYMBOL","amount":"16.4700000000","price":"0.4705"}}"#,
            r#"{"time":1606293275,"time_ms":1606293275723,"channel":"spot.book_ticker","event":
            "update","result":{"t":1606293275123,"u":48733182,"s":"SYMBOL","b":"19177.79","B":
            "0.0003341504","a":"19179.38","A":"0.09"}}"#,
        ],
        snapshot: Some(
            r#"{"id":48776302,"current":1623898993123,"update":1623898993121,"asks":[["1.52",
            "1.151"]],"bids":[["1.17","201.863"]]}"#,
        ),
    },
    Delivered {
        exchange: "gate-io-futures",
        symbol: "BTC_USDT",
        messages: &[
            r#"{"time":1615366381,"time_ms":1615366381123,"channel":"futures.order_book_update",
            "event":"update","result":{"t":1615366381417,"s":"SYMBOL","U":2517661101,"u":2517661113,
            "b":[{"p":"54672.1","s":"0.5"}],"a":[{"p":"54743.6","s":"95"}],"l":"100"}}"#,
            r#"{"time":1541503698,"time_ms":1541503698123,"channel":"futures.trades","event":
            "update",
            "result":[{"size":"-108","id":27753479,"create_time":1545136464,"create_time_ms":
            1545136464123,"price":"96.4","contract":"SYMBOL"}]}"#,
            r#"{"time":1615366379,"time_ms":1615366379123,"channel":"futures.book_ticker","event":
            "update","result":{"t":1615366379123,"u":2517661076,"s":"SYMBOL","b":"54696.6","B":
            "37000","a":"54696.7","A":"47061"}}"#,
            r#"{"time":1541659086,"time_ms":1541659086123,"channel":"futures.tickers","event":
            "update","result":[{"contract":"SYMBOL","last":"118.4","change_percentage":"0.77",
            "funding_rate":"-0.000114","funding_rate_indicative":"0.01875","mark_price":"118.35",
            "index_price":"118.36","total_size":"73648","volume_24h":"745487577"}]}"#,
            r#"{"channel":"futures.public_liquidates","event":"update","time":1541505434,"time_ms":
            1541505434123,"result":[{"price":"215.1","size":"-124.5","time":1541486601123,
            "contract":"SYMBOL"}]}"#,
        ],
        snapshot: Some(
            r#"{"id":2517661102,"current":1623898993.123,"update":1623898993.121,"asks":[{"p":
            "1.52",
            "s":"100"}],"bids":[{"p":"1.17","s":"150"}]}"#,
        ),
    },
    Delivered { exchange: "bitfinex", symbol: "BTCUSD", messages: &BITFINEX, snapshot: None },
    Delivered {
        exchange: "bitfinex-derivatives",
        symbol: "BTCF0:USTF0",
        messages: &[
            BITFINEX[0],
            BITFINEX[1],
            BITFINEX[2],
            BITFINEX[3],
            BITFINEX[4],
            BITFINEX[5],
            r#"{"event":"subscribed","channel":"status","chanId":335856,"key":"deriv:tSYMBOL"}"#,
            r#"[335856,[1596124822000,null,0.896,0.771995,null,1396531.67460709,null,1596153600000,
            0.0001056,6,null,-0.01381344,null,null,0.7664,null,null,246502.09001551,null,null,null,
            null,null,null],4,1596124822001]"#,
            r#"{"event":"subscribed","channel":"status","chanId":91684,"key":"liq:global"}"#,
            r#"[91684,[["pos",145400868,1609144352338,null,"tSYMBOL",-1.67288094,730.96,null,0,1,
            null,
            736.13]],5,1609144352339]"#,
        ],
        snapshot: None,
    },
    Delivered {
        exchange: "bitmex",
        symbol: "XBTUSD",
        messages: &[
            r#"{"table":"orderBookL2","action":"partial","keys":["symbol","id","side"],"filter":
            {"symbol":"SYMBOL"},"data":[{"symbol":"SYMBOL","id":17999992000,"side":"Sell","size":
            100,
            "price":80,"timestamp":"2022-02-14T08:06:54.742Z"}]}"#,
            r#"{"table":"trade","action":"insert","data":[{"timestamp":"2017-04-04T22:16:38.461Z",
            "symbol":"SYMBOL","side":"Sell","size":2000,"price":1132,"tickDirection":
            "ZeroMinusTick","trdMatchID":"7dcd6a34-2ed9","grossValue":176678000}]}"#,
            r#"{"table":"quote","action":"insert","data":[{"timestamp":"2019-05-31T23:59:59.942Z",
            "symbol":"SYMBOL","bidSize":701,"bidPrice":267.7,"askPrice":267.75,"askSize":62427}]}"#,
            r#"{"table":"instrument","action":"partial","data":[{"symbol":"SYMBOL","state":"Open",
            "lastPrice":267.75,"markPrice":267.7,"fundingRate":0.0001,"openInterest":589,
            "timestamp":"2019-05-31T23:59:59.942Z"}]}"#,
            r#"{"table":"liquidation","action":"insert","data":[{"orderID":"dd9cea25-207c","symbol":
            "SYMBOL","side":"Buy","price":10106,"leavesQty":9214}]}"#,
        ],
        snapshot: None,
    },
    Delivered { exchange: "hyperliquid", symbol: "BTC", messages: &HYPERLIQUID, snapshot: None },
    Delivered {
        exchange: "cryptofacilities",
        symbol: "PF_XBTUSD",
        messages: &[
            r#"{"feed":"book_snapshot","product_id":"SYMBOL","timestamp":1612269825817,"seq":
            326072249,
            "tickSize":null,"bids":[{"price":34892.5,"qty":6385}],"asks":[{"price":34911.5,"qty":
            20598}]}"#,
            r#"{"feed":"trade","product_id":"SYMBOL","uid":"05af78ac-a774-478c-a50c","side":"sell",
            "type":"liquidation","seq":653355,"time":1612266317519,"qty":15000,"price":34969.5}"#,
            r#"{"time":1676393235406,"product_id":"SYMBOL","funding_rate":-6.2604214e-11,
            "funding_rate_prediction":-3.65989977e-10,"relative_funding_rate":-1.36047021e-6,
            "relative_funding_rate_prediction":-7.8978e-6,"next_funding_rate_time":1676394000000,
            "feed":"ticker","bid":21978.5,"ask":21987.0,"bid_size":2536.0,"ask_size":13948.0,
            "index":21984.54,"last":21979.0,"openInterest":30072580.0,"markPrice":21979.68}"#,
        ],
        snapshot: None,
    },
];

const BITSTAMP: Delivered = Delivered {
    exchange: "bitstamp",
    symbol: "btcusd",
    messages: &[
        r#"{"data":{"timestamp":"1554076801","microtimestamp":"1554076801338397","bids":[],"asks":
        [["169.28","180.00000000"]]},"channel":"diff_order_book_SYMBOL","event":"data"}"#,
        r#"{"data":{"id":98000129,"timestamp":"1569888000","amount":0.02834,"amount_str":
        "0.02834000","price":8304.47,"price_str":"8304.47","type":0,"microtimestamp":
        "1569888000557673","buy_order_id":1,"sell_order_id":2},"channel":"live_trades_SYMBOL",
        "event":"trade"}"#,
    ],
    snapshot: Some(
        r#"{"timestamp":"1554076800","microtimestamp":"1554076800338397","bids":[["168.75","2"]],
        "asks":[["168.76","0.49"]]}"#,
    ),
};

/// Every exchange that can be had live.
fn exchanges_live() -> BTreeSet<&'static str> {
    exchanges().into_iter().filter(|exchange| live(exchange).is_ok()).collect()
}

fn offered(feed: &dyn LiveFeed, symbol: &str) -> BTreeSet<Kind> {
    Kind::ALL.into_iter().filter(|kind| !feed.topics(*kind, symbol).is_empty()).collect()
}

impl Delivered {
    /// What a dialect makes of it on a connection to a host that the venue does not know.
    fn rows(&self, feed: &dyn LiveFeed) -> Vec<StreamKey> {
        let mut dialect = dialect(self.exchange, None).unwrap();
        let mut rows = Rows::new();
        let path = feed.topics(Kind::Book, self.symbol)[0].path;
        let url = format!("ws://{HOST}{path}");
        let mut send = |dialect: &mut dyn Dialect, frame: &Frame<'_>| {
            dialect.frame(TsNs(1), 1, frame, &mut rows).unwrap_or_else(|error| {
                panic!("{}: {frame:?}: {error}", self.exchange);
            });
        };
        send(&mut *dialect, &Frame::Connected { url: &url });
        for message in self.messages {
            let market = if self.exchange == "bitget" { "SPOT" } else { "USDT-FUTURES" };
            // Only contracts settled in their coin have a pair.
            let pair = if self.exchange == "binance-delivery" { "\"ps\":\"BTCUSD\"," } else { "" };
            let message = message.replace("\"ps\":\"SYMBOL\",", pair);
            let message = message.replace("SYMBOL", self.symbol).replace("TYPE", market);
            send(&mut *dialect, &Frame::Message(message.as_bytes()));
        }
        if let Some(body) = self.snapshot {
            let url = format!("http://{HOST}{}", feed.snapshot(self.symbol).unwrap());
            send(&mut *dialect, &Frame::Reply { url: &url, body: body.as_bytes() });
        }
        let keys = rows.take().unwrap().into_iter().map(|(key, _)| key);
        keys.filter(|key| key.kind != Kind::Status).collect()
    }
}

#[test]
fn what_the_live_topics_deliver_is_read_whatever_the_host_is_called() {
    let mut seen = BTreeSet::new();
    for delivered in DELIVERED.iter().chain([&BITSTAMP]) {
        let exchange = delivered.exchange;
        let feed = live(exchange).unwrap();
        let instrument = Instrument::new(exchange, delivered.symbol).unwrap();

        let keys = delivered.rows(feed);

        for key in &keys {
            assert_eq!(key.instrument, instrument);
        }
        let kinds: BTreeSet<_> = keys.iter().map(|key| key.kind).collect();
        assert_eq!(kinds, offered(feed, delivered.symbol), "{exchange}");
        seen.insert(exchange);
    }
    let unseen: Vec<_> = exchanges_live().difference(&seen).copied().collect();
    assert!(unseen.is_empty(), "live, but without messages here: {unseen:?}");
}

#[test]
fn every_live_exchange_says_all_that_a_recorder_must_know() {
    for exchange in exchanges_live() {
        let feed = live(exchange).unwrap();
        assert!(feed.stream_url().starts_with("wss://"), "{exchange}");
        assert!(feed.rest_url().starts_with("https://"), "{exchange}");
        assert!(!feed.listings().is_empty(), "{exchange}");
        for path in feed.listings().iter().chain(&feed.snapshot("A-B")) {
            assert!(path.starts_with('/'), "{exchange} {path}");
        }
        let manners = feed.manners();
        assert!(manners.topics_per_connection >= manners.topics_per_message, "{exchange}");
        assert!(manners.topics_per_message > 0, "{exchange}");
        let least = [manners.message_every, manners.connect_every, manners.snapshot_every];
        assert!(least.iter().all(|least| *least > Duration::ZERO), "{exchange}");
        assert!(manners.ping_every.is_none_or(|every| every < manners.silence_max), "{exchange}");
        let by_snapshot = manners.resync == Resync::Snapshot;
        assert_eq!(by_snapshot, feed.snapshot("A-B").is_some(), "{exchange}");
        assert!(offered(feed, "A-B").is_superset(&BTreeSet::from([Kind::Book, Kind::Trades])));
        for kind in offered(feed, "A-B") {
            subscribes_to_two(exchange, feed, kind);
        }
    }
}

/// A request for two topics names both, and ends both unless the venue takes numbers for that.
fn subscribes_to_two(exchange: &str, feed: &dyn LiveFeed, kind: Kind) {
    let topics: Vec<Topic> =
        ["A-B", "C-D"].iter().flat_map(|symbol| feed.topics(kind, symbol)).collect();
    let names: Vec<&str> = topics.iter().map(|topic| &*topic.name).collect();
    let mut requests = vec![feed.subscribe(&names, 1, TsNs(0))];
    if feed.manners().resync != Resync::Reconnect {
        requests.push(feed.unsubscribe(&names, 1, TsNs(0)));
    }
    for texts in requests {
        let text = texts.concat();
        for part in names.iter().flat_map(|name| name.split(':')) {
            assert!(!part.is_empty() && text.contains(part), "{exchange} {part}: {text}");
        }
        for text in texts {
            assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{exchange} {text}");
        }
    }
}

#[test]
fn an_exchange_that_cannot_be_had_live_is_refused_with_those_that_can() {
    let Err(error) = live("ftx") else { panic!("ftx is no more") };
    let error = error.to_string();
    assert!(error.contains("\"ftx\"") && error.contains("binance-futures, "), "{error}");
    assert!(!error.contains("ftx,"), "{error}");
}
